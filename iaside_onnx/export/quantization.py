"""ONNX to FP16 or INT8 by the tools of ONNX Runtime and onnxconverter-common, and a comparison."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from iaside_onnx.errors import ExportError, IasideError, OptionError
from iaside_onnx.export.code import failure
from iaside_onnx.export.extras import quiet, require, version_of
from iaside_onnx.export.target import check_output
from iaside_onnx.export.writing import check_preprocess_file, temporary_model, write_model
from iaside_onnx.images import ImagesLike, ImageSource, Preprocess, open_images, sample_images
from iaside_onnx.model import METADATA_KEY, FoundModel, input_transform, make_predictor
from iaside_onnx.runtime import Classifier, GraphFacts, load_classifier, read_graph
from iaside_onnx.version import __version__

__all__ = ["QUANTIZE_KEY", "Precision", "Quantized", "quantize", "split_images"]

Precision: TypeAlias = Literal["fp16", "int8"]

QUANTIZE_KEY = "iaside.quantize"
"""Key of the ONNX metadata under which a quantised model carries how it was made, as JSON."""

EXTRA = "quantize"
_HELD_OUT = 500
_SOFTMAX = ("Softmax", "LogSoftmax")
# Batch size, where the graph does not fix it.
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantised model and its comparison with the original.

    Attributes:
        facts: what the new file says of itself.
        original: what the original's file says of itself.
        to: the new precision.
        calibration: number of calibration images; 0 for FP16, which needs none.
        held_out: number of other images that the two were compared on.
        agreement: share of these in [0, 1] that both put into the same class.
        preprocess_note: where the preprocessing comes from.
    """

    facts: GraphFacts
    original: GraphFacts
    to: Precision
    calibration: int
    held_out: int
    agreement: float
    preprocess_note: str


def quantize(
    model: str | Path,
    images: ImagesLike | None,
    output: str | Path,
    *,
    to: Precision = "int8",
    calibration: int = 128,
    preprocess: str | Path | Preprocess | None = None,
    input_size: tuple[int, int, int] | None = None,
    output_name: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Quantized:
    """Quantise a float model, and compare the two on images that were not used for calibration.

    INT8 is static: QDQ nodes, weights in int8 with a scale for each channel, activations in uint8
    with ranges from calibration images. FP16 keeps float32 inputs and outputs.

    Args:
        model: an ONNX file in float32.
        images: as in `iaside_onnx.decompose`; no labels are needed. Some are used for
            calibration, and up to 500 of the others are held out for the comparison.
        output: the ONNX file to write.
        to: the new precision.
        calibration: number of images that calibrate INT8, at most half of all.
        preprocess: as in `iaside_onnx.Options`.
        input_size: as in `iaside_onnx.Options`.
        output_name: as in `iaside_onnx.Options`.
        seed: seed of the choice of images.
        overwrite: replace an existing file.

    Raises:
        IasideError: the model cannot be quantised, or an option cannot work; no file is created.
    """
    target = Path(output)
    check_output(target, overwrite)
    if images is None:
        raise OptionError(
            "quantising needs images, for calibration and comparison: give `images=SRC`"
        )
    _check_options(to, calibration)
    found = FoundModel.read(model, preprocess)
    facts = found.facts
    _check_float(facts, target)
    original = found.load(output_name, input_size, device="cpu")
    source = open_images(images)
    spec = found.complete(original, input_size, source.size)
    check_preprocess_file(target, spec)
    first, second = split_images(source, calibration if to == "int8" else 0, seed)
    inputs = _Inputs(original, source, spec)
    made = _to_int8(facts, inputs, first) if to == "int8" else _to_fp16(facts)
    with temporary_model(target) as temporary:
        write_model(made, temporary, target)
        quantized = load_classifier(
            read_graph(temporary), output=output_name, input_size=spec.size(), device="cpu"
        )
        agreement = _agreement(inputs, quantized, second, target)
        metadata = {p.key: p.value for p in made.metadata_props}
        provenance = _provenance(facts, to, len(first), len(second), agreement)
        metadata[QUANTIZE_KEY] = json.dumps(provenance)
        if found.preprocess is not None:
            # A guessed preprocessing is not stored, so that an audit still warns of the guess.
            metadata[METADATA_KEY] = json.dumps(spec.to_dict())
        onnx.helper.set_model_props(made, metadata)
        write_model(made, temporary, target)
    return Quantized(read_graph(target), facts, to, len(first), len(second), agreement, found.note)


def _check_options(to: str, calibration: int) -> None:
    if to not in get_args(Precision):
        raise OptionError(f"unknown precision {to!r}: use {' or '.join(get_args(Precision))}")
    if calibration < 1:
        raise OptionError(f"at least 1 calibration image is needed, found {calibration}")


def _check_float(facts: GraphFacts, target: Path) -> None:
    if target.exists() and target.samefile(facts.path):
        raise OptionError(f"{target} is the model itself, which is kept; choose another name")
    if facts.precision != "float32":
        raise ExportError(
            f"{facts.path} is already {facts.precision}; give the float32 model that it was made of"
        )


def split_images(
    source: ImageSource, calibration: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose images for calibration and others for the comparison.

    Both are balanced over classes where there are labels.

    Returns:
        Two arrays of positions without a common element; up to ``calibration``, and up to 500.

    Raises:
        ExportError: there are fewer than 2 images.
        OptionError: the seed is below 0.
    """
    n = len(source)
    if n < 2:
        raise ExportError(
            f"{source.describe()}: at least 2 images are needed, one for calibration and one "
            "for the comparison"
        )
    first = np.zeros(0, np.int64)
    if calibration:
        first = sample_images(n, source.labels, min(calibration, n // 2), seed)
    rest = np.setdiff1d(np.arange(n), first)
    labels = None if source.labels is None else source.labels[rest]
    return first, rest[sample_images(len(rest), labels, min(_HELD_OUT, len(rest)), seed)]


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Images as input of the original model."""

    classifier: Classifier
    source: ImageSource
    spec: Preprocess

    def batches(self, rows: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
        """Batch by batch; zeros fill the last one up where the graph fixes the batch size."""
        signature = self.classifier.signature
        size = signature.batch or _BATCH
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            pixels = np.stack([self.source.read(int(row), self.spec).pixels for row in chosen])
            inputs = input_transform(self.spec, signature.layout, signature.dtype)(pixels)
            if signature.batch is not None and len(inputs) < size:
                zeros = np.zeros((size - len(inputs), *inputs.shape[1:]), inputs.dtype)
                inputs = np.concatenate([inputs, zeros])
            yield inputs


def _to_fp16(facts: GraphFacts) -> onnx.ModelProto:
    float16 = require(EXTRA, "onnxconverter_common.float16")
    try:
        with quiet():
            made: onnx.ModelProto = float16.convert_float_to_float16(
                onnx.load(str(facts.path)),
                keep_io_types=True,
                # The tool converts wrongly the Cast that a model with uint8 input begins with.
                op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, "Cast"],
            )
    except Exception as error:
        raise failure(f"{facts.path}: it cannot be converted to FP16", error) from error
    return made


def _to_int8(facts: GraphFacts, inputs: _Inputs, rows: NDArray[np.int64]) -> onnx.ModelProto:
    quantization = require(EXTRA, "onnxruntime.quantization", "sympy")
    shapes = require(EXTRA, "onnxruntime.quantization.shape_inference")
    name = inputs.classifier.signature.input_name
    reader = _reader(quantization, name, inputs.batches(rows))
    with tempfile.TemporaryDirectory() as folder:
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        try:
            with quiet():
                shapes.quant_pre_process(str(facts.path), str(prepared))
                quantization.quantize_static(
                    str(prepared),
                    str(made),
                    reader,
                    quant_format=quantization.QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=quantization.QuantType.QUInt8,
                    weight_type=quantization.QuantType.QInt8,
                    nodes_to_exclude=_last_softmax(prepared),
                )
                return onnx.load(str(made))
        except IasideError:
            # From reading images, which the reader does inside.
            raise
        except Exception as error:
            raise failure(f"{facts.path}: it cannot be quantised to INT8", error) from error


def _last_softmax(path: Path) -> list[str]:
    """Names of softmax nodes that make an output; nodes without a name are given one.

    Quantised in steps of 1/256, most probabilities would be exactly 0 and have no logarithm.
    """
    model = onnx.load(str(path))
    makers = {output: node for node in model.graph.node for output in node.output}
    ends = [makers.get(output.name) for output in model.graph.output]
    found = [node for node in ends if node is not None and node.op_type in _SOFTMAX]
    for number, node in enumerate(found):
        node.name = node.name or f"last_softmax_{number}"
    onnx.save(model, str(path))
    return [node.name for node in found]


def _reader(quantization: Any, name: str, batches: Iterator[NDArray[Any]]) -> Any:
    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # untyped base
        """Calibration images in the interface of ONNX Runtime's tools."""

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(batches, None)
            return None if batch is None else {name: batch}

    return Reader()


def _agreement(
    inputs: _Inputs, quantized: Classifier, rows: NDArray[np.int64], target: Path
) -> float:
    """Share of images in [0, 1] that both models put into the same class."""
    predictors = [
        make_predictor(classifier, inputs.spec, _BATCH)
        for classifier in (inputs.classifier, quantized)
    ]
    same = 0
    for start in range(0, len(rows), _BATCH):
        chosen = rows[start : start + _BATCH]
        pixels = np.stack([inputs.source.read(int(row), inputs.spec).pixels for row in chosen])
        before, after = (predictor.outputs(pixels) for predictor in predictors)
        if not np.isfinite(after).all() and np.isfinite(before).all():
            raise ExportError(
                f"{target}: gives NaN or infinite outputs where the original does not, so nothing "
                "was written; its values do not fit the new precision"
            )
        same += int((before.argmax(axis=1) == after.argmax(axis=1)).sum())
    return same / len(rows)


def _provenance(
    facts: GraphFacts, to: Precision, calibration: int, held_out: int, agreement: float
) -> dict[str, object]:
    tools = ("onnxruntime", "onnxconverter-common") if to == "fp16" else ("onnxruntime",)
    return {
        "to": to,
        "original": facts.path.name,
        "original_sha256": facts.sha256,
        "calibration_images": calibration,
        "held_out_images": held_out,
        "agreement": agreement,
        "versions": {tool: version_of(tool) for tool in tools},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "tool_version": __version__,
    }

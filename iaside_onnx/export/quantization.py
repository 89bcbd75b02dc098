"""ONNX to FP16 or INT8, by ONNX Runtime's and onnxconverter's own tools, and what it changed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from iaside_onnx.files import finished_file
from iaside_onnx.engine import Options
from iaside_onnx.engine.preprocessing import (
    METADATA_KEY,
    choose_preprocess,
    complete_preprocess,
    load_model,
)
from iaside_onnx.errors import ExportError, IasideError, OptionError
from iaside_onnx.export.code import failure
from iaside_onnx.export.extras import quiet, require, version_of
from iaside_onnx.export.finishing import check_beside, named, write_model
from iaside_onnx.export.inputs import to_inputs
from iaside_onnx.export.target import check_output
from iaside_onnx.images import ImagesLike, ImageSource, Preprocess, open_images, sample_images
from iaside_onnx.runtime import Classifier, GraphFacts, load_classifier, read_graph
from iaside_onnx.version import __version__

__all__ = ["QUANTIZE_KEY", "Precision", "Quantized", "quantize"]

Precision: TypeAlias = Literal["fp16", "int8"]

QUANTIZE_KEY = "iaside.quantize"
"""Key of the ONNX metadata under which a quantised model carries how it was made, as JSON."""

EXTRA = "quantize"
_HELD_OUT = 500
_SOFTMAX = ("Softmax", "LogSoftmax")
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantised model, beside its original.

    Attributes:
        facts: what the new file says of itself.
        original: what the file of the original says of itself.
        to: the new precision.
        calibration: on how many images ranges were found; 0 for FP16, which needs none.
        held_out: on how many other images the two were compared.
        agreement: share of these that both put into the same class.
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
    """Quantise a float model, and compare the two on images that had no part in it.

    INT8 is static: QDQ nodes, weights in int8 with a scale for each channel, activations in uint8
    with ranges from calibration images. FP16 keeps float32 inputs and outputs.

    Args:
        model: an ONNX file in float32.
        images: as in `iaside_onnx.decompose`; no labels are needed. Some calibrate, and of the
            others up to 500 are held out for the comparison.
        output: the ONNX file to write.
        to: the new precision.
        calibration: how many images calibrate INT8, at most half of them.
        preprocess: as in `iaside_onnx.Options`.
        input_size: as in `iaside_onnx.Options`.
        output_name: as in `iaside_onnx.Options`.
        seed: of the choice of images.
        overwrite: replace a file that is there.

    Raises:
        IasideError: if anything is in the way; no file is left.
    """
    target = Path(output)
    check_output(target, overwrite)
    if to not in get_args(Precision):
        raise OptionError(f"unknown precision {to!r}: use {' or '.join(get_args(Precision))}")
    if images is None:
        raise OptionError(
            "quantising needs images, to find ranges and to compare on: give --images SRC"
        )
    if calibration < 1:
        raise OptionError(f"at least 1 image must calibrate, found {calibration}")
    facts = read_graph(Path(model))
    _check_float(facts, target)
    options = Options(preprocess=preprocess, input_size=input_size, output_name=output_name,
                      device="cpu", seed=seed)  # fmt: skip
    found, note = choose_preprocess(facts, options)
    classifier = load_model(facts, found, options)
    source = open_images(images)
    spec = complete_preprocess(found, classifier.signature, input_size, source.size)
    check_beside(target, spec)
    first, second = _split(source, calibration if to == "int8" else 0, seed)
    batches = _Batches(classifier, source, spec)
    made = _to_int8(facts, batches, first) if to == "int8" else _to_fp16(facts)
    with finished_file(target) as temporary, named(temporary, target):
        write_model(made, temporary, target)
        other = load_classifier(
            read_graph(temporary), output=output_name, input_size=spec.size(), device="cpu"
        )
        agreement = _agreement(batches, other, second, target)
        how = _how(facts, to, len(first), len(second), agreement)
        kept = {p.key: p.value for p in made.metadata_props} | {
            QUANTIZE_KEY: json.dumps(how),
        }  # fmt: skip
        if found is not None:
            # A guess stays one, and is said to be one when the model is audited.
            kept[METADATA_KEY] = json.dumps(spec.to_dict())
        onnx.helper.set_model_props(made, kept)
        write_model(made, temporary, target)
    return Quantized(
        read_graph(target), facts, to, len(first), len(second), agreement, note
    )  # fmt: skip


def _check_float(facts: GraphFacts, target: Path) -> None:
    if target.exists() and target.samefile(facts.path):
        raise OptionError(f"{target} is the model itself, which is kept; give another name")
    if facts.precision != "float32":
        raise ExportError(
            f"{facts.path} is {facts.precision} already; give the float32 model that it was made of"
        )


def _split(
    source: ImageSource, calibration: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images that calibrate, balanced over classes where there are labels; and others."""
    n = len(source)
    if n < 2:
        raise ExportError(
            f"{source.describe()}: at least 2 images are needed, one to find ranges and one to "
            "compare on"
        )
    first = np.zeros(0, np.int64)
    if calibration:
        first = sample_images(n, source.labels, min(calibration, n // 2), seed)
    rest = np.setdiff1d(np.arange(n), first)
    labels = None if source.labels is None else source.labels[rest]
    return first, rest[sample_images(len(rest), labels, min(_HELD_OUT, len(rest)), seed)]


@dataclass(frozen=True, slots=True)
class _Batches:
    """Images as a model takes them."""

    classifier: Classifier
    source: ImageSource
    spec: Preprocess

    def of(self, rows: Sequence[int] | NDArray[np.int64]) -> Iterator[NDArray[Any]]:
        """Batch by batch; where the graph fixes how many, the last one is filled up with zeros."""
        signature = self.classifier.signature
        size = signature.batch or _BATCH
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            pixels = np.stack([self.source.read(int(row), self.spec).pixels for row in chosen])
            inputs = to_inputs(pixels, self.spec, signature.layout, signature.dtype)
            if signature.batch is not None and len(inputs) < size:
                filler = np.zeros((size - len(inputs), *inputs.shape[1:]), inputs.dtype)
                inputs = np.concatenate([inputs, filler])
            yield inputs


def _to_fp16(facts: GraphFacts) -> onnx.ModelProto:
    float16 = require(EXTRA, "onnxconverter_common.float16")
    try:
        with quiet():
            made: onnx.ModelProto = float16.convert_float_to_float16(
                onnx.load(str(facts.path)),
                keep_io_types=True,
                # What an image of bytes goes through first, and what the tool converts wrongly.
                op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, "Cast"],
            )
    except Exception as error:
        raise failure(f"{facts.path}: it cannot be converted to FP16", error) from error
    return made


def _to_int8(facts: GraphFacts, batches: _Batches, rows: NDArray[np.int64]) -> onnx.ModelProto:
    quantization = require(EXTRA, "onnxruntime.quantization", "sympy")
    shapes = require(EXTRA, "onnxruntime.quantization.shape_inference")
    name = batches.classifier.signature.input_name
    reader = _reader(quantization, name, batches.of(rows))
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
            # Of the images, as they are read in there.
            raise
        except Exception as error:
            raise failure(f"{facts.path}: it cannot be quantised to INT8", error) from error


def _last_softmax(path: Path) -> list[str]:
    """Names of the softmax that a model ends in, if it does; it is given one where it has none.

    In steps of 1/256 most probabilities would be exactly 0, and their logarithms nothing.
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
        """Calibration images as ONNX Runtime's tools ask for them."""

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(batches, None)
            return None if batch is None else {name: batch}

    return Reader()


def _agreement(
    batches: _Batches, other: Classifier, rows: NDArray[np.int64], target: Path
) -> float:
    """Share of images that both models put into the same class."""
    same = 0
    left = len(rows)
    for inputs in batches.of(rows):
        mine, theirs = batches.classifier.run(inputs)[:left], other.run(inputs)[:left]
        if not np.isfinite(theirs).all() and np.isfinite(mine).all():
            raise ExportError(
                f"{target}: gives NaN or infinite outputs where the original does not, so nothing "
                "was written; its values do not fit the new precision"
            )
        same += int((mine.argmax(axis=1) == theirs.argmax(axis=1)).sum())
        left -= len(mine)
    return same / len(rows)


def _how(
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

"""ONNX to FP16 or INT8 by the tools of ONNX Runtime, and a comparison with the original."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from iaside_onnx.errors import ExportError, OptionError
from iaside_onnx.export.extras import version_of
from iaside_onnx.export.opsets import LOWEST_OPSET, raise_opset
from iaside_onnx.export.precisions import INT8_OPSET, to_fp16, to_int8
from iaside_onnx.export.target import check_output
from iaside_onnx.export.writing import check_preprocess_file, temporary_model, write_model
from iaside_onnx.files import scratch_folder
from iaside_onnx.images import ImagesLike, ImageSource, Preprocess, open_images, sample_images
from iaside_onnx.model import (
    METADATA_KEY,
    AutoOutputKind,
    FoundModel,
    check_choices,
    input_transform,
    make_predictor,
)
from iaside_onnx.progress import LogProgress, Progress
from iaside_onnx.runtime import Classifier, GraphFacts, read_graph
from iaside_onnx.types import Layout
from iaside_onnx.version import __version__

__all__ = ["QUANTIZE_KEY", "Precision", "Quantized", "quantize", "split_images"]

Precision: TypeAlias = Literal["fp16", "int8"]

QUANTIZE_KEY = "iaside.quantize"
"""Key of the ONNX metadata under which a quantised model carries how it was made, as JSON."""

_HELD_OUT = 500
# Largest difference of an output, relative to the largest output, that raising the opset may make.
_ROUNDING = 1e-4
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
        notes: decisions that change more than the precision.
    """

    facts: GraphFacts
    original: GraphFacts
    to: Precision
    calibration: int
    held_out: int
    agreement: float
    preprocess_note: str
    notes: Sequence[str] = field(default=())


def quantize(
    model: str | Path,
    images: ImagesLike | None,
    output: str | Path,
    *,
    to: Precision = "int8",
    calibration: int = 128,
    preprocess: str | Path | Preprocess | None = None,
    input_size: tuple[int, int, int] | None = None,
    input_layout: Layout | None = None,
    output_name: str | None = None,
    output_kind: AutoOutputKind = "auto",
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Quantized:
    """Quantise a float model, and compare the two on images that were not used for calibration.

    INT8 is static: QDQ nodes, weights in int8 with a scale for each channel, activations in uint8
    with ranges from calibration images. FP16 keeps float32 inputs and outputs. A model of an
    earlier operator set than the precision needs (13 for INT8, 7 for FP16) is converted first.

    Args:
        model: an ONNX file in float32.
        images: as in `iaside_onnx.decompose`; no labels are needed. Some are used for
            calibration, and up to 500 of the others are held out for the comparison.
        output: the ONNX file to write.
        to: the new precision.
        calibration: number of images that calibrate INT8, at most half of all.
        preprocess: as in `iaside_onnx.Options`.
        input_size: as in `iaside_onnx.Options`.
        input_layout: as in `iaside_onnx.Options`.
        output_name: as in `iaside_onnx.Options`.
        output_kind: as in `iaside_onnx.Options`; matters for one number for each image only.
        seed: seed of the choice of images.
        overwrite: replace a file that an earlier call or an export has written.
        progress: is told what is done; by default the logger ``iaside_onnx``.

    Raises:
        IasideError: the model cannot be quantised, or an option cannot work; no file is created.
    """
    progress = progress or LogProgress()
    target = Path(output)
    if target.exists() and Path(model).exists() and target.samefile(model):
        raise OptionError(f"{target} is the model itself, which is kept; choose another name")
    check_output(target, overwrite)
    if images is None:
        raise OptionError(
            "quantising needs images, for calibration and comparison: give `images=SRC`"
        )
    _check_options(to, calibration)
    progress.say(f"reading {model}")
    found = FoundModel.read(model, preprocess)
    _check_float(found.facts)
    said: dict[str, Any] = {"input_layout": input_layout, "output_kind": output_kind}
    check_choices(**said)
    with scratch_folder(target) as scratch:
        job = _Job(found, images, output_name, input_size, said, seed, scratch, progress)
        return job.run(target, to, calibration)


def _check_options(to: str, calibration: int) -> None:
    if to not in get_args(Precision):
        raise OptionError(f"unknown precision {to!r}: use {' or '.join(get_args(Precision))}")
    if calibration < 1:
        raise OptionError(f"at least 1 calibration image is needed, found {calibration}")


def _check_float(facts: GraphFacts) -> None:
    if facts.is_ort:
        raise ExportError(
            f"{facts.path} has ONNX Runtime's own format, which only it can read; give the .onnx "
            "file that it was made of"
        )
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
class _Job:
    """A model to quantise, and what it is quantised with."""

    found: FoundModel
    images: ImagesLike
    output_name: str | None
    input_size: tuple[int, int, int] | None
    said: Mapping[str, Any]
    seed: int
    scratch: Path
    progress: Progress

    def run(self, target: Path, to: Precision, calibration: int) -> Quantized:
        """Quantise, compare, and write the file."""
        facts = self.found.facts
        notes: list[str] = []
        raised = self._raised(INT8_OPSET if to == "int8" else LOWEST_OPSET, notes)
        # Where ONNX Runtime does not run the original itself, its conversion stands in.
        runs = facts if facts.opset >= LOWEST_OPSET else raised
        original = self._load(runs, self.input_size)
        source = open_images(self.images)
        spec = self.found.complete(original, self.input_size, source.size)
        check_preprocess_file(target, spec)
        first, second = split_images(source, calibration if to == "int8" else 0, self.seed)
        inputs = _Inputs(original, source, spec)
        if raised is not runs:
            self._check_raised(raised, inputs, second)
        made = self._made(raised, to, inputs, first, notes)
        metadata = {p.key: p.value for p in made.metadata_props}
        with temporary_model(target) as temporary:
            write_model(made, temporary, target)
            self.progress.say(f"comparing with the original on {len(second)} other images")
            quantized = self._load(read_graph(temporary), spec.size())
            agreement = _agreement(inputs, quantized, second, target)
            provenance = _provenance(facts, to, len(first), len(second), agreement, notes)
            metadata[QUANTIZE_KEY] = json.dumps(provenance)
            if self.found.preprocess is not None:
                # A guessed preprocessing is not stored, so that an audit still warns of the guess.
                metadata[METADATA_KEY] = json.dumps(spec.to_dict())
            onnx.helper.set_model_props(made, metadata)
            self.progress.say(f"writing {target}")
            write_model(made, temporary, target)
        return Quantized(
            read_graph(target), facts, to, len(first), len(second), agreement, self.found.note,
            tuple(notes),
        )  # fmt: skip

    def _load(self, facts: GraphFacts, size: tuple[int, int, int] | None) -> Classifier:
        """Load the model, or what was made of it."""
        found = replace(self.found, facts=facts)
        return found.load(self.output_name, size, device="cpu", **self.said)

    def _raised(self, opset: int, notes: list[str]) -> GraphFacts:
        """The model in an operator set that is at least the one needed; a note if it was raised."""
        facts = self.found.facts
        if facts.opset >= opset:
            return facts
        # INT8 needs the later one anyway, and few converters write what lies between.
        notes.append(f"opset {facts.opset} was raised to {INT8_OPSET} by onnx's converter")
        self.progress.say(notes[-1])
        model = raise_opset(onnx.load(str(facts.path)), INT8_OPSET, str(facts.path))
        path = self.scratch / "raised.onnx"
        write_model(model, path, facts.path)
        return read_graph(path)

    def _made(
        self,
        facts: GraphFacts,
        to: Precision,
        inputs: _Inputs,
        rows: NDArray[np.int64],
        notes: list[str],
    ) -> onnx.ModelProto:
        """The model in the new precision, calibrated on these images; adds notes."""
        name = str(self.found.facts.path)
        if to == "fp16":
            self.progress.say("converting to FP16")
            return to_fp16(onnx.load(str(facts.path)), name)
        self.progress.say(f"calibrating on {len(rows)} images, and quantising to INT8")
        signature = inputs.classifier.signature
        made, more = to_int8(
            facts.path, name, signature.input_name,
            lambda: (batch.reshape(signature.input_shape(batch.shape))
                     for batch in inputs.batches(rows)),
            self.scratch,
        )  # fmt: skip
        notes += more
        return made

    def _check_raised(self, raised: GraphFacts, inputs: _Inputs, rows: NDArray[np.int64]) -> None:
        """Check that raising the opset changed no output.

        Raises:
            ExportError: if it did.
        """
        classifier = self._load(raised, self.input_size)
        batch = next(inputs.batches(rows))
        before, after = inputs.classifier.run(batch), classifier.run(batch)
        # Some models give NaN or infinity for some images.
        before, after = (values[np.isfinite(before)] for values in (before, after))
        largest = float(np.abs(before).max(initial=0))
        difference = float(np.abs(after - before).max(initial=0))
        if not difference <= _ROUNDING * max(largest, 1):
            raise ExportError(
                f"{self.found.facts.path}: raising its opset from {self.found.facts.opset} to "
                f"{raised.opset} changes its outputs by {difference:.1e}, which is an error of "
                f"onnx's converter; export the model again with opset {raised.opset} or later"
            )


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
    facts: GraphFacts,
    to: Precision,
    calibration: int,
    held_out: int,
    agreement: float,
    notes: Sequence[str],
) -> dict[str, object]:
    return {
        "to": to,
        "original": facts.path.name,
        "original_sha256": facts.sha256,
        "calibration_images": calibration,
        "held_out_images": held_out,
        "agreement": agreement,
        "notes": list(notes),
        "versions": {tool: version_of(tool) for tool in ("onnxruntime", "onnx")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "tool_version": __version__,
    }

"""The last step of every export: named, checked against the framework, and only then there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from numpy.typing import NDArray

from iaside_onnx.files import finished_file
from iaside_onnx.engine.preprocessing import METADATA_KEY
from iaside_onnx.errors import ExportError, IasideError, PreprocessError
from iaside_onnx.export import graphs
from iaside_onnx.export.code import Hashes, failure
from iaside_onnx.export.inputs import as_type, bundled_pixels, to_inputs
from iaside_onnx.export.target import Target
from iaside_onnx.images import (
    Preprocess,
    find_preprocess,
    open_images,
)
from iaside_onnx.runtime import (
    GraphFacts,
    Signature,
    load_classifier,
    output_hint,
    read_graph,
    resolve_output_kind,
    usable_outputs,
)
from iaside_onnx.types import Layout
from iaside_onnx.version import __version__

__all__ = [
    "EXPORT_KEY",
    "Draft",
    "Exported",
    "check_beside",
    "finish",
    "named",
    "write_model",
]

EXPORT_KEY = "iaside.export"
"""Key of the ONNX metadata under which a model carries where it came from, as JSON."""

IMAGES = 16
"""So many images are compared."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A model that a framework has written, before it is checked.

    Attributes:
        model: the graph, with all weights inside.
        reference: the framework's own outputs, ``(n, classes)``, of inputs in the model's layout.
        framework: its name.
        versions: of the framework and of what wrote the graph, by package.
        source: the model as it was named.
        sha256: hashes of the files that it was made of.
        layout: of the input.
        size: channels, height and width.
        preprocess: how pixels become input; None if nothing says.
        preprocess_note: where that is from.
        output: the graph's output to keep; None if it has one.
        notes: what was decided on the way.
        classes: their names in order, if the framework has them.
        step: of an output that is quantised; 0 if it is not.
    """

    model: onnx.ModelProto
    reference: Callable[[NDArray[np.float32]], NDArray[Any]]
    framework: str
    versions: dict[str, str]
    source: str
    sha256: Hashes
    layout: Layout
    size: tuple[int, int, int]
    preprocess: Preprocess | None
    preprocess_note: str
    output: str | None = None
    notes: Sequence[str] = ()
    classes: Sequence[str] = ()
    step: float = 0.0


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished export.

    Attributes:
        facts: what the file says of itself.
        signature: what the model takes and gives.
        output_kind: what the outputs are.
        framework: where the model came from.
        versions: of the framework and of what wrote the graph, by package.
        source: the model as it was named.
        preprocess: how pixels become input; None if nothing said.
        preprocess_note: where that is from.
        difference: largest difference of an output from the framework's own.
        images: how many images that was found on.
        notes: what was decided on the way.
    """

    facts: GraphFacts
    signature: Signature
    output_kind: str
    framework: str
    versions: dict[str, str]
    source: str
    preprocess: Preprocess | None
    preprocess_note: str
    difference: float
    images: int
    notes: Sequence[str] = field(default=())


def finish(draft: Draft, target: Target) -> Exported:
    """Name the ends, compare with the framework on images, and write the file.

    Raises:
        IasideError: the model cannot be audited, or its outputs are not the framework's; no file
            is left under the final name, and one that was there is untouched.
    """
    model = draft.model
    spec = None if draft.preprocess is None else draft.preprocess.resolved(draft.size)
    check_beside(target.output, spec)
    if draft.output is not None:
        graphs.keep_output(model, draft.output)
    _check_graph(model, target)
    graphs.tidy(model)
    inputs = _check_inputs(draft, spec or Preprocess(input_size=draft.size), target)
    expected = _expected(draft, inputs)
    notes = [*draft.notes, *_check_steady(draft, inputs, expected, target)]
    kind = _kind(model, expected, target.output)
    if draft.step and kind == "probabilities":
        notes.append(
            f"probabilities come in steps of {draft.step:.1e}, so many will be exactly 0: export "
            "the float model, or logits, if there is a choice"
        )
    graphs.name_ends(model, kind.replace("-", "_"))
    with finished_file(target.output) as temporary:
        write_model(model, temporary, target.output)
        with named(temporary, target.output):
            difference, signature = _difference(read_graph(temporary), draft, inputs, expected)
        if not difference <= target.tolerance:
            raise ExportError(
                f"{target.output}: ONNX Runtime differs from {draft.framework} by "
                f"{difference:.1e} on {len(inputs)} images, over {target.tolerance:g}, so nothing "
                f"was written; {_advice(draft, expected)}"
            )
        onnx.helper.set_model_props(model, _metadata(draft, spec, difference, len(inputs)))
        write_model(model, temporary, target.output)
    return Exported(
        read_graph(target.output), signature, kind, draft.framework, draft.versions, draft.source,
        spec, draft.preprocess_note, difference, len(inputs), notes,
    )  # fmt: skip


@contextmanager
def named(temporary: Path, output: Path) -> Iterator[None]:
    """Errors name the file that is being made; its temporary name would help nobody."""
    try:
        yield
    except IasideError as error:
        raise type(error)(str(error).replace(str(temporary), str(output))) from error


def check_beside(output: Path, spec: Preprocess | None) -> None:
    """A specification beside a model goes before the one inside: it must not be another."""
    found = find_preprocess(output)
    if found is not None and found[0] not in (spec, spec and _without_size(spec)):
        raise PreprocessError(
            f"{found[1]} lies beside {output.name} and would be used in place of the preprocessing "
            "of this export, from which it differs; remove it, give it as --preprocess, or write "
            "elsewhere"
        )


def _without_size(spec: Preprocess) -> Preprocess:
    return Preprocess.from_dict({**spec.to_dict(), "input_size": None}, "")


def _check_graph(model: onnx.ModelProto, target: Target) -> None:
    output = target.output
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset > target.opset:
        raise ExportError(
            f"{output}: opset {target.opset} was asked for, and the exporter gives {opset} at "
            f"least; give --opset {opset}"
        )
    if any(tensor.data_type == onnx.TensorProto.BFLOAT16 for tensor in model.graph.initializer):
        raise ExportError(
            f"{output}: the model computes in bfloat16, which ONNX Runtime does not on a CPU; "
            "export it in float32"
        )
    unknown = graphs.unknown_operators(model)
    if unknown:
        raise ExportError(
            f"{output}: the model has operators that ONNX does not have ({', '.join(unknown)}); "
            "replace them by standard ones"
        )
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    outputs = [value.name for value in model.graph.output]
    for names, what in ((inputs, "input"), (outputs, "output")):
        if len(names) != 1:
            raise ExportError(
                f"{output}: the model has {len(names)} {what}s ({', '.join(names)}), where one "
                "was expected; wrap it so that the others are fixed or left out"
            )


def _check_inputs(draft: Draft, spec: Preprocess, target: Target) -> NDArray[np.float32]:
    """Images as the model takes them, ``(n, ...)`` in its layout."""
    if target.images is None:
        pixels = bundled_pixels(spec, IMAGES)
    else:
        source = open_images(target.images)
        spread = np.linspace(0, len(source) - 1, min(len(source), IMAGES))
        pixels = np.stack([source.read(int(i), spec).pixels for i in spread.round()])
    return to_inputs(pixels, spec, draft.layout, np.dtype(np.float32))


def _expected(draft: Draft, inputs: NDArray[np.float32]) -> NDArray[Any]:
    try:
        outputs = np.asarray(draft.reference(inputs))
    except IasideError:
        raise
    except Exception as error:
        raise failure(
            f"{draft.source}: {draft.framework} fails on a batch of {len(inputs)} images; any "
            "batch must do",
            error,
        ) from error
    if outputs.dtype == object:
        raise ExportError(
            f"{draft.source}: gives several things, as a dict or a tuple, where one tensor of "
            "scores was expected; wrap it so that it gives the scores alone"
        )
    if outputs.ndim in (1, 2) and outputs[:1].size == 1 and outputs.dtype.kind == "f":
        raise ExportError(
            f"{draft.source}: gives one number for each image, where one for each class was "
            "expected, also of two; wrap it so that it gives both (for p, 1 - p and p)"
        )
    if outputs.dtype.kind not in "fV":
        raise ExportError(
            f"{draft.source}: gives values of type {outputs.dtype}, where one number for each "
            "class was expected; export the scores, not the answer"
        )
    if outputs.ndim != 2 or len(outputs) != len(inputs) or outputs.shape[1] < 2:
        raise ExportError(
            f"{draft.source}: gives the shape {outputs.shape} for {len(inputs)} images, where "
            f"({len(inputs)}, classes) with at least 2 classes was expected; only classifiers can "
            "be audited"
        )
    if np.isnan(outputs).any():
        raise ExportError(
            f"{draft.source}: gives NaN in {draft.framework} itself; check weights and "
            "preprocessing"
        )
    return outputs


def _advice(draft: Draft, expected: NDArray[Any]) -> str:
    if draft.step:
        return f"its quantised output has steps of {draft.step:.1e}: --tolerance may allow for one"
    largest = float(np.abs(expected).max())
    if largest > 100:
        return f"outputs are as large as {largest:.0f}: --tolerance may allow for their rounding"
    return "try another --opset, or mend what the converter gets wrong"


def _check_steady(
    draft: Draft, inputs: NDArray[np.float32], expected: NDArray[Any], target: Target
) -> list[str]:
    """That the framework agrees with itself, without which no agreement means anything.

    Returns:
        A note, if the outputs hardly depend on the images.

    Raises:
        ExportError: it does not.
    """
    again = np.asarray(draft.reference(inputs))
    alone = np.asarray(draft.reference(inputs[:1]))
    for other, first, why in (
        (again, expected, "twice the same images: it draws at random; switch that off (dropout)"),
        (alone, expected[:1], "an image alone and among others: it mixes the images of a batch"),
    ):
        difference = _largest(other, first)
        if not difference <= target.tolerance / 10:
            raise ExportError(
                f"{draft.source}: {draft.framework} itself gives outputs that differ by "
                f"{difference:.1e} for {why}"
            )
    with np.errstate(invalid="ignore"):
        spread = float(np.nan_to_num(np.ptp(expected.astype(np.float64), axis=0)).max())
    if spread > 10 * target.tolerance:
        return []
    return [
        f"its outputs differ by {spread:.1e} at most between these images, so comparing them says "
        "little: give --images"
    ]


def _kind(model: onnx.ModelProto, expected: NDArray[Any], output: Path) -> str:
    hint = output_hint(model.graph, model.graph.output[0].name)
    try:
        return resolve_output_kind(hint, usable_outputs(expected, str(output)), str(output))[0]
    except IasideError:
        # Something between 0 and 1, as of a sigmoid; auditing asks what it is.
        return "scores"


def write_model(model: onnx.ModelProto, path: Path, output: Path) -> None:
    """Write a model whole, with its weights inside.

    Raises:
        ExportError: it is over the 2 GB that such a file can have.
    """
    try:
        data = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise ExportError(
            f"{output}: the model is over 2 GB, which an ONNX file with its weights inside cannot "
            "be"
        ) from error
    path.write_bytes(data)


def _difference(
    facts: GraphFacts, draft: Draft, inputs: NDArray[np.float32], expected: NDArray[Any]
) -> tuple[float, Signature]:
    """Largest difference from the framework's outputs: all images at once, and the first alone.

    And what the model takes and gives, which was looked at for it.
    """
    classifier = load_classifier(facts, input_size=draft.size, device="cpu")
    signature = classifier.signature
    if signature.batch is not None:
        raise ExportError(
            f"{facts.path}: its batch came out fixed at {signature.batch}; the model's code makes "
            "it so, by a number where the size of its input should be"
        )
    inputs = as_type(inputs, signature.dtype)
    differences = [
        _largest(classifier.run(inputs), expected),
        _largest(classifier.run(inputs[:1]), expected[:1]),
    ]
    return float(np.max(differences)), signature


def _largest(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    if actual.shape != expected.shape:
        return float("inf")
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        # Infinities of one sign are equal, and their difference is NaN.
        return float(np.where(actual == expected, 0, np.abs(actual - expected)).max())


def _metadata(
    draft: Draft, spec: Preprocess | None, difference: float, images: int
) -> dict[str, str]:
    made = {
        "framework": draft.framework,
        "versions": draft.versions,
        "source": draft.source,
        "source_sha256": draft.sha256,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "checked_images": images,
        "largest_difference": difference,
        "tool_version": __version__,
        **({"classes": list(draft.classes)} if draft.classes else {}),
    }
    kept = {EXPORT_KEY: json.dumps(made)}
    if spec is not None:
        kept[METADATA_KEY] = json.dumps(spec.to_dict())
    return kept

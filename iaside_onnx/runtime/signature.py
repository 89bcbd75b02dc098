"""What a classifier takes and gives, as its session and its graph declare it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iaside_onnx.errors import ModelError
from iaside_onnx.runtime.axes import Axes, FoundAxes, find_axes, is_flat, shape_of
from iaside_onnx.runtime.graph import GraphFacts
from iaside_onnx.runtime.hints import OutputHint
from iaside_onnx.runtime.scores import classes_of
from iaside_onnx.types import Layout

__all__ = ["Signature", "read_signature"]

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
_FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)", "tensor(bfloat16)"}
_BYTES = {"tensor(uint8)", "tensor(int8)"}
_CHANNELS = (1, 3)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a classifier takes and gives.

    Attributes:
        input_name: name of the one input.
        dtype: NumPy type of the input.
        layout: where the channels are.
        channels: 1 or 3.
        height: rows; None if dynamic.
        width: columns; None if dynamic.
        batch: images per call, if the graph fixes it; None if dynamic.
        output_name: name of the output with the classes.
        classes: number of classes; None if the graph does not declare it.
        output_hint: the kind of the output by the end of the graph; None if it does not tell.
        output_batch: rows of the output, if the graph declares them; wrong where it was exported
            with an example of another batch.
        axes: what is along each axis of the input, where it is not that of the layout; see
            `iaside_onnx.runtime.axes.Axes`.
        notes: what of this is a guess, in words.
    """

    input_name: str
    dtype: np.dtype[Any]
    layout: Layout
    channels: int
    height: int | None
    width: int | None
    batch: int | None
    output_name: str
    classes: int | None
    output_hint: OutputHint | None
    output_batch: int | None = None
    axes: Axes | None = None
    notes: tuple[str, ...] = ()

    @property
    def takes(self) -> str:
        """The input in words, for people."""
        size = f"{self.height or 'any'} x {self.width or 'any'}"
        batch = "any batch" if self.batch is None else f"batches of {self.batch}"
        axes = "" if self.axes is None else f", as ({', '.join(self.axes)})"
        return f"{self.layout} {self.dtype} {size}, {self.channels} channel(s), {batch}{axes}"

    def input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that the model takes of a batch, ``(n, ...)`` in its layout."""
        if self.axes is None:
            return shape
        images, *image = shape
        channels, height, width = image if self.layout == "NCHW" else (image[2], *image[:2])
        return shape_of(self.axes, images, (channels, height, width))


def read_signature(
    facts: GraphFacts,
    session: Any,
    output: str | None,
    input_size: tuple[int, int, int] | None,
    input_layout: Layout | None,
) -> Signature:
    """Determine what a loaded model takes and gives.

    Raises:
        ModelError: if it is not an image classifier that can be audited.
    """
    image = _image_input(facts, session.get_inputs())
    found = _read_axes(facts, image.shape, input_size, input_layout)
    chosen = _choose_output(facts, session.get_outputs(), output, found.batch)
    classes = classes_of(chosen.shape, found.batch) if chosen.shape else None
    return Signature(
        input_name=image.name,
        dtype=np.dtype(_DTYPES[image.type]),
        layout=found.layout,
        channels=found.channels,
        height=found.height,
        width=found.width,
        batch=found.batch,
        output_name=chosen.name,
        classes=2 if classes == 1 else classes or None,
        output_hint=facts.output_hints.get(chosen.name),
        output_batch=_output_batch(chosen.shape, found.batch),
        axes=found.axes or None,
        notes=tuple(filter(None, [found.note, *_zip_notes(facts)])),
    )


def _output_batch(shape: Sequence[object], batch: int | None) -> int | None:
    """The rows of an output, if it declares them; (classes,) of a single image has none."""
    if len(shape) == 1 and batch == 1:
        return None
    return next((d for d in shape[:1] if isinstance(d, int) and d > 0), None)


def _image_input(facts: GraphFacts, inputs: Sequence[Any]) -> Any:
    """The one input of a model."""
    if len(inputs) != 1:
        names = ", ".join(repr(i.name) for i in inputs)
        raise ModelError(
            f"{facts.path}: has {len(inputs)} inputs ({names}), where one image input was "
            "expected; export the model with the others fixed"
        )
    (image,) = inputs
    if image.type not in _DTYPES:
        raise ModelError(
            f"{facts.path}: its input {image.name!r} is a {image.type}, where float32, float16, "
            "float64 or uint8 was expected; export it with one of these"
        )
    return image


def _read_axes(
    facts: GraphFacts,
    shape: Sequence[object],
    input_size: tuple[int, int, int] | None,
    input_layout: Layout | None,
) -> FoundAxes:
    """What is along each axis of the input; the axes themselves are empty if as in the layout."""
    dims = [d if isinstance(d, int) and d > 0 else None for d in shape]
    if dims and (len(dims) != 4 or is_flat(dims, input_size)):
        where = f"{facts.path}: its input has the shape {list(shape)}"
        return find_axes(dims, input_size, input_layout, where)
    layout = _layout(facts, dims, shape, input_size, input_layout)
    first, rows = (1, 2) if layout == "NCHW" else (3, 1)
    channels = _channels(facts, dims[first], input_size)
    return FoundAxes((), layout, channels, dims[rows], dims[rows + 1], dims[0], "")


def _zip_notes(facts: GraphFacts) -> list[str]:
    """What is read in place of the maps that ZipMap makes."""
    notes = []
    for name, zipped in facts.zipped.items():
        numbered = zipped.classes == tuple(map(str, range(len(zipped.classes))))
        named = f"; the classes, counted from 0, are {', '.join(zipped.classes[:10])}"
        named += ", ..." if len(zipped.classes) > 10 else ""
        notes.append(
            f"output: the tensor {zipped.tensor!r} is read, of which ZipMap makes {name!r}"
            f"{'' if numbered else named}"
        )
    return notes


def _channels(
    facts: GraphFacts, declared: int | None, input_size: tuple[int, int, int] | None
) -> int:
    channels = declared or (input_size[0] if input_size else None)
    if channels is None:
        raise ModelError(
            f"{facts.path}: leaves open how many channels it takes; give `input_size=(C, H, W)`, "
            "such as 1,28,28 or 3,224,224, or a preprocessing spec with input_size"
        )
    return channels


def _layout(
    facts: GraphFacts,
    dims: Sequence[int | None],
    shape: Sequence[object],
    input_size: tuple[int, int, int] | None,
    asked: Layout | None,
) -> Layout:
    """The layout of an input of four axes, or of one that declares none."""
    if len(dims) != 4:
        raise ModelError(
            f"{facts.path}: its input has the shape {list(shape)}, where four axes, (batch, "
            "channels, height, width) or (batch, height, width, channels), were expected; wrap "
            "the model so that it takes images"
        )
    has = f"{facts.path}: its input has the shape {list(shape)}"
    fits = _fitting(dims, input_size)
    if asked is not None:
        channels = dims[1] if asked == "NCHW" else dims[3]
        if fits[asked] or (input_size is None and channels is None):
            return asked
        raise ModelError(
            f"{has}, which does not fit the layout {asked}; correct `input_layout=` or "
            "`input_size=`"
        )
    possible: list[Layout] = [layout for layout, fit in fits.items() if fit]
    if len(possible) == 1:
        return possible[0]
    if facts.layout_hint is not None and (possible or None in (dims[1], dims[3])):
        return facts.layout_hint
    if possible:
        raise ModelError(
            f"{facts.path}: its input {list(shape)} may be NCHW or NHWC; say which by "
            "`input_layout=`, or by a preprocessing spec with input_size, "
            "[channels, height, width]"
        )
    expected = (
        "1 or 3 channels; only models of grey or colour images can be audited"
        if input_size is None
        else f"(channels, height, width) {input_size}; correct `input_size=` or the spec"
    )
    raise ModelError(f"{has}, which does not fit {expected}")


def _fitting(
    dims: Sequence[int | None], input_size: tuple[int, int, int] | None
) -> dict[Layout, bool]:
    """Whether four axes fit each layout."""
    if input_size is None:
        return {"NCHW": dims[1] in _CHANNELS, "NHWC": dims[3] in _CHANNELS}
    c, h, w = input_size
    return {"NCHW": _agrees(dims[1:], (c, h, w)), "NHWC": _agrees(dims[1:], (h, w, c))}


def _agrees(dims: Sequence[int | None], wanted: Sequence[int]) -> bool:
    return all(d is None or d == w for d, w in zip(dims, wanted, strict=True))


def _choose_output(
    facts: GraphFacts, outputs: Sequence[Any], name: str | None, batch: int | None
) -> Any:
    # Some files list an output twice.
    outputs = list({output.name: output for output in outputs}.values())
    listed = ", ".join(f"{o.name!r} {o.type} {o.shape}" for o in outputs)
    if name is not None:
        name = facts.zipped[name].tensor if name in facts.zipped else name
        found = next((output for output in outputs if output.name == name), None)
        if found is None:
            raise ModelError(f"{facts.path}: has no output {name!r}; it has {listed}")
        if found.type in _FLOATS or name in facts.quantised:
            return found
        raise ModelError(
            f"{facts.path}: the output {name!r} is a {found.type}, not one number for each "
            f"class; the model has {listed}{_scale_advice([found])}"
        )
    numbers = [o for o in outputs if o.type in _FLOATS or o.name in facts.quantised]
    rows = {o.name: classes_of(o.shape, batch) for o in numbers if o.shape}
    tiers = (
        [o for o in numbers if len(o.shape) == 2 and o.shape[1] != 1],
        [o for o in numbers if len(o.shape) != 2 and (rows.get(o.name) or 0) > 1],
        # What is not declared is a candidate only where nothing better is.
        [o for o in numbers if not o.shape],
        [o for o in numbers if len(o.shape) not in (0, 2) and rows[o.name] == 0],
        [o for o in numbers if rows.get(o.name) == 1],
    )
    candidates = next((tier for tier in tiers if tier), [])
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise ModelError(
            f"{facts.path}: has no output of shape (batch, classes); it has {listed}; export the "
            f"classifier with its head{_scale_advice(outputs)}"
        )
    raise ModelError(
        f"{facts.path}: several outputs may be the classes: {listed}; choose one with "
        "`output_name=NAME`"
    )


def _scale_advice(outputs: Sequence[Any]) -> str:
    """What to do about bytes without a scale, if there are any."""
    if not any(output.type in _BYTES for output in outputs):
        return ""
    return (
        "; the graph does not tell the scale of its bytes: export the model with DequantizeLinear, "
        "or QuantizeLinear with a constant scale, at its end"
    )

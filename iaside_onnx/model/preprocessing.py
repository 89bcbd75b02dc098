"""Which preprocessing a model gets, by a stated precedence, and whether it suits the model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from iaside_onnx.errors import PreprocessError
from iaside_onnx.images import (
    MAX_PIXELS,
    Preprocess,
    find_preprocess,
    parse_preprocess,
    read_preprocess,
)
from iaside_onnx.runtime import GraphFacts, Signature

__all__ = [
    "METADATA_KEY",
    "PreprocessLike",
    "choose_preprocess",
    "complete_preprocess",
    "scaling_warning",
]

PreprocessLike: TypeAlias = str | Path | Mapping[str, object] | Preprocess
"""A specification, its fields, a file that holds one, or ``keras:MODE``."""

# Inputs that span less than this are no pixels of 0..255.
_MOST_SCALED = 16.0

METADATA_KEY = "iaside.preprocess"
"""Key of the ONNX metadata under which a model carries its own preprocessing, as JSON."""


def choose_preprocess(
    facts: GraphFacts, asked: PreprocessLike | None
) -> tuple[Preprocess | None, str]:
    """The specification with the highest precedence, and a line that says which one it is.

    What was asked for, then a file beside the model, then the metadata of the model.

    Raises:
        PreprocessError: if the one that is found cannot be read.
    """
    if isinstance(asked, Preprocess):
        return asked, "preprocessing: as given"
    if isinstance(asked, Mapping):
        return Preprocess.from_dict(asked, "preprocess"), "preprocessing: as given"
    if asked is not None:
        return read_preprocess(asked), f"preprocessing: {asked}"
    found = find_preprocess(facts.path)
    if found is not None:
        spec, file = found
        place = "beside" if file.parent == facts.path.parent else "in the folder above"
        return spec, f"preprocessing: {file.name}, {place} the model"
    if METADATA_KEY in facts.metadata:
        where = f"{facts.path}, metadata {METADATA_KEY}"
        try:
            data = json.loads(facts.metadata[METADATA_KEY])
        except ValueError as error:
            raise PreprocessError(f"{where}: not JSON ({error}); give `preprocess=`") from error
        if not isinstance(data, dict):
            raise PreprocessError(f"{where}: not a JSON object; give `preprocess=`")
        return parse_preprocess(data, where), "preprocessing: from the model's metadata"
    return None, (
        "preprocessing: none was found, so pixels are only scaled, as a guess; give `preprocess=` "
        "SPEC if the model wants more"
    )


def complete_preprocess(
    spec: Preprocess | None,
    signature: Signature,
    input_size: tuple[int, int, int] | None,
    image_size: tuple[int, int] | None,
) -> Preprocess:
    """Fill in the sizes, and make sure that specification and model agree.

    Args:
        spec: what was found; None is plain scaling, to [0, 1], or 0..255 for uint8 inputs.
        signature: of the model.
        input_size: channels, height and width asked for, if any.
        image_size: height and width of the images, if they are arrays.

    Raises:
        PreprocessError: if sizes contradict each other, or none is known.
    """
    if spec is None:
        top = 255.0 if signature.dtype == np.uint8 else 1.0
        spec = Preprocess(value_range=(0.0, top))
    if input_size is not None:
        spec = spec.resolved(input_size)
    wanted = spec.input_size
    height = signature.height or (wanted[1] if wanted else image_size[0] if image_size else None)
    width = signature.width or (wanted[2] if wanted else image_size[1] if image_size else None)
    if height is None or width is None:
        raise PreprocessError(
            "the model takes images of any size, and nothing says which: give `input_size=` "
            "C,H,W, or a spec with input_size, [channels, height, width]"
        )
    size = (signature.channels, height, width)
    if math.prod(size) > MAX_PIXELS:
        raise PreprocessError(
            f"images of {height} x {width} pixels are asked for, over the limit of {MAX_PIXELS} "
            "values; give the model, or `input_size=`, a smaller size"
        )
    try:
        spec = spec.resolved(size)
    except PreprocessError as error:
        raise PreprocessError(
            f"the preprocessing does not suit the model, which takes {signature.takes}: {error}"
        ) from error
    if signature.dtype == np.uint8:
        _check_bytes(spec)
    return spec


def scaling_warning(facts: GraphFacts, spec: Preprocess) -> str | None:
    """A warning if both the specification and the graph scale pixels of 0..255; else None."""
    scale, shift = spec.affine()
    if facts.input_scale is None or float(np.abs(scale).max()) > _MOST_SCALED:
        return None
    low, high = float(shift.min()), float((scale + shift).max())
    return (
        f"{facts.path}: its first operators scale pixels of 0..255 themselves, by "
        f"1/{1 / facts.input_scale:g}, but the preprocessing gives values from {low:g} to "
        f'{high:g}: pixels seem to be scaled twice; give a spec with "value_range": [0, 255], '
        "mean 0 and std 1, such as `preprocess='keras:raw'`"
    )


def _check_bytes(spec: Preprocess) -> None:
    """Refuse a spec of which rounding to whole numbers would leave little or nothing."""
    scale, shift = spec.affine()
    low, high = float(shift.min()), float((scale + shift).max())
    if low < -1 or high > 256 or float(scale.min()) < 127:
        raise PreprocessError(
            f"the model takes uint8, but the preprocessing gives values from {low:g} to {high:g}, "
            "which rounding to 0..255 would destroy; give one with value_range [0, 255], mean 0 "
            "and std 1, such as keras:raw"
        )

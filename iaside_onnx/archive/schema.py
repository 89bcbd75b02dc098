"""The archive's schema: every variable and attribute, declared once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SAMPLED",
    "SCHEMA_VERSION",
    "VARIABLES",
    "Variable",
    "add_scale",
    "add_variable",
    "as_text",
    "encode",
    "set_text",
    "text_of",
    "variables_of",
]

SCHEMA_VERSION = 1

_STRING = "utf-8"
_CHUNK_VALUES = 1 << 16


@dataclass(frozen=True, slots=True)
class Variable:
    """One dataset of the archive.

    Attributes:
        dims: names of its axes; none for a scalar.
        dtype: NumPy type, or ``utf-8`` for a fixed-length string.
        units: as in the CF conventions; ``1`` for a pure number, empty for text.
        long_name: what it is, in words.
        required: whether every archive has it.
    """

    dims: tuple[str, ...]
    dtype: str
    units: str
    long_name: str
    required: bool = True


_LOW, _HIGH = "lower bound of the 95 % interval of", "upper bound of the 95 % interval of"
_PHI, _PSI = "mean contribution of the band", "share of the band in the distribution psi"
_SIS = "spectral importance score"

VARIABLES: dict[str, Variable] = {
    "image": Variable(("image",), "int64", "1", "position of the image in its source"),
    "band": Variable(("band",), "int64", "1", "band, 0 is the lowest and holds the mean"),
    "coalition": Variable(
        ("coalition",), "uint64", "1", "bit mask of the bands that are present, bit i is band i"
    ),
    "worth": Variable(
        ("image", "coalition"), "float32", "nat", "log-probability of the label; NaN: not evaluated"
    ),
    "label": Variable(("image",), "int64", "1", "class index that the worth is about"),
    "predicted": Variable(("image",), "int64", "1", "class that the model gives the whole image"),
    "image_id": Variable(("image",), _STRING, "", "name of the image in its source"),
    "image_sha256": Variable(("image",), _STRING, "", "SHA-256 of the file, or of the array"),
    "log_probability_whole": Variable(
        ("image",), "float32", "nat", "log-probability of the label, image as it is"
    ),
    "log_probability_empty": Variable(
        ("image",), "float32", "nat", "log-probability of the label, baseline alone"
    ),
    "floored": Variable(
        ("image",), "int64", "1", "worths raised to the smallest probability of the output's type"
    ),
    "phi_image": Variable(("image", "band"), "float64", "nat", "contribution of the band"),
    "phi": Variable(("band",), "float64", "nat", _PHI),
    "phi_low": Variable(("band",), "float64", "nat", f"{_LOW} phi"),
    "phi_high": Variable(("band",), "float64", "nat", f"{_HIGH} phi"),
    "psi": Variable(("band",), "float64", "1", _PSI),
    "psi_low": Variable(("band",), "float64", "1", f"{_LOW} psi"),
    "psi_high": Variable(("band",), "float64", "1", f"{_HIGH} psi"),
    "sis": Variable((), "float64", "1", _SIS),
    "sis_low": Variable((), "float64", "1", f"{_LOW} the score"),
    "sis_high": Variable((), "float64", "1", f"{_HIGH} the score"),
    "band_low": Variable(("band",), "float64", "1", "lowest radius of the band, included"),
    "band_high": Variable(("band",), "float64", "1", "highest radius of the band, excluded"),
    "class_folder": Variable(("class_folder",), _STRING, "", "folder of a class", False),
    "class_folder_index": Variable(("class_folder",), "int64", "1", "its class index", False),
    "failed_id": Variable(("failed",), _STRING, "", "name of an image that failed", False),
    "failed_reason": Variable(("failed",), _STRING, "", "why it failed", False),
    "failed": Variable(("failed",), "int64", "1", "position of a failed image", False),
}


SAMPLED: dict[str, Variable] = {
    "slot": Variable(("slot",), "int64", "1", "number of the slot"),
    "coalition": Variable(
        ("image", "slot"), "uint64", "1",
        "bit mask of the bands that are present, bit i is band i; slot 0 none, slot 1 all, then "
        "prefixes of the image's permutation and of its reverse, and of cyclic shifts of it",
    ),
    "worth": Variable(
        ("image", "slot"), "float32", "nat", "log-probability of the label; NaN: not evaluated"
    ),
    "draw": Variable(("image",), "int64", "1", "place of the image in the order of the draw"),
    "block": Variable(("image",), "int64", "1", "block of images whose permutations balance"),
    "pairs": Variable(("image",), "int64", "1", "permutations of the image, each with its reverse"),
    "stratum": Variable(("image",), "int64", "1", "class that the draw was balanced over", False),
    "phi_image": Variable(
        ("image", "band"), "float64", "nat", "unbiased estimate of the contribution of the band"
    ),
    "phi_se": Variable(("band",), "float64", "nat", "standard error of phi"),
}  # fmt: skip
"""What a sampled archive has besides, or instead."""


def variables_of(*, sampled: bool) -> dict[str, Variable]:
    """The variables of an archive of all coalitions, or of a sample."""
    return {**VARIABLES, **SAMPLED} if sampled else VARIABLES


def encode(texts: list[str]) -> NDArray[np.bytes_]:
    """Text as fixed-length UTF-8, which is checksummed and compressed like any other data."""
    data = [text.encode() for text in texts]
    longest = max(map(len, data), default=1)
    return np.array(data, dtype=h5py.string_dtype(_STRING, max(longest, 1)))


def as_text(values: NDArray[Any]) -> list[str]:
    """The opposite of `encode`."""
    return [bytes(value).decode() for value in values.tolist()]


def set_text(owner: h5py.File | h5py.Dataset, name: str, text: str) -> None:
    """Write an attribute as fixed-length UTF-8.

    HDF5 keeps text of variable length, which h5py writes by itself, in a heap without checksums:
    where that is damaged it reads for ever.
    """
    owner.attrs.create(name, encode([text])[0], dtype=encode([text]).dtype)


def text_of(value: Any) -> Any:
    """An attribute, text as a str whichever way it was written.

    Raises:
        UnicodeDecodeError: it is no UTF-8.
    """
    return value.decode() if isinstance(value, bytes) else value


def add_scale(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    """Write a coordinate and make it the scale of its axis."""
    add_variable(file, name, values)
    file[name].make_scale(name)


def add_variable(
    file: h5py.File,
    name: str,
    values: NDArray[Any] | None = None,
    *,
    shape: tuple[int, ...] = (),
) -> h5py.Dataset:
    """Make a dataset as the schema declares it, and attach the scales of its axes.

    Args:
        file: open for writing; the scales of the axes must be there.
        name: a key of `VARIABLES`.
        values: what to write, text from `encode`; None leaves numbers to be filled in later.
        shape: its shape, if no values are given.
    """
    variable = variables_of(sampled="slot" in (name, *file))[name]
    is_text = variable.dtype == _STRING
    if values is not None:
        shape = values.shape
    dtype = values.dtype if is_text and values is not None else variable.dtype
    layout: dict[str, Any] = {}
    if shape:
        # Every HDF5 has these filters; each chunk carries its own checksum.
        rows = _CHUNK_VALUES // max(math.prod(shape[1:]), 1)
        layout = {
            "chunks": (min(max(rows, 1), shape[0]), *shape[1:]),
            "compression": "gzip",
            "shuffle": not is_text,
            "fletcher32": True,
        }
    dataset = file.create_dataset(name, shape=shape, dtype=dtype, track_times=False, **layout)
    if values is not None:
        dataset[...] = values
    set_text(dataset, "long_name", variable.long_name)
    if variable.units:
        set_text(dataset, "units", variable.units)
    if is_text:
        # The sign by which xarray knows fixed-length text from bytes.
        set_text(dataset, "_Encoding", _STRING)
    for axis, dim in enumerate(variable.dims):
        if dim != name:
            dataset.dims[axis].attach_scale(file[dim])
    return dataset


Kind = Literal["int", "float", "str", "object", "list"]

ATTRIBUTES: dict[str, Kind] = {
    "schema_version": "int",
    "tool_version": "str",
    "model_name": "str",
    "model_sha256": "str",
    "model_external": "object",
    "model_size": "int",
    "model_opset": "int",
    "model_producer": "str",
    "runtime": "str",
    "runtime_version": "str",
    "provider": "str",
    "device": "str",
    "precision": "str",
    "seed": "int",
    "options": "object",
    "preprocess": "object",
    "started": "str",
    "finished": "str",
    "images_asked": "int",
    "images_done": "int",
    "images_failed": "int",
    "accuracy": "float",
    "uniform": "int",
    "smallest_bands": "list",
    "notes": "list",
}
"""The root's attributes and what each is; an object and a list are stored as JSON strings."""

OPTIONAL_ATTRIBUTES: dict[str, Kind] = {"profile": "object", "sample": "object", "digest": "str"}
"""Those of a run that was asked for a profile, and of a sampled one; and the hash of all else."""

"""Datasets and attributes of an archive, as the schema declares them."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive.schema import TEXT, Variable

__all__ = ["add_variable", "as_text", "encode", "set_text", "text_of"]

_CHUNK_VALUES = 1 << 16


def encode(texts: list[str]) -> NDArray[np.bytes_]:
    """Text as fixed-length UTF-8, which is checksummed and compressed like any other data."""
    data = [text.encode() for text in texts]
    longest = max(map(len, data), default=1)
    return np.array(data, dtype=h5py.string_dtype(TEXT, max(longest, 1)))


def as_text(values: NDArray[Any]) -> list[str]:
    """The inverse of `encode`."""
    return [bytes(value).decode() for value in values.tolist()]


def set_text(owner: h5py.File | h5py.Dataset, name: str, text: str) -> None:
    """Write an attribute as fixed-length UTF-8.

    h5py by itself writes text of variable length. HDF5 keeps that in a heap without checksums, and
    never returns from reading a damaged heap.
    """
    owner.attrs.create(name, encode([text])[0], dtype=encode([text]).dtype)


def text_of(value: Any) -> Any:
    """The value of an attribute; text as str, whether its length is stored as fixed or variable.

    Raises:
        UnicodeDecodeError: if the text is not UTF-8.
    """
    return value.decode() if isinstance(value, bytes) else value


def add_variable(
    file: h5py.File,
    name: str,
    variable: Variable,
    values: NDArray[Any] | None = None,
    *,
    shape: tuple[int, ...] = (),
) -> h5py.Dataset:
    """Create a dataset, and attach the scales of its axes, or make it a scale.

    Args:
        file: open for writing; the scales of the axes must exist.
        name: name of the variable.
        variable: its declaration.
        values: what to write, text from `encode`; None leaves numbers to be filled in later.
        shape: its shape, if no values are given.
    """
    is_text = variable.dtype == TEXT
    if values is not None:
        values = values if is_text else np.asarray(values, dtype=variable.dtype)
        shape = values.shape
    dtype = values.dtype if is_text and values is not None else variable.dtype
    layout: dict[str, Any] = {}
    if shape:
        # Every build of HDF5 has these filters. Each chunk has its own checksum.
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
        # By this attribute xarray tells fixed-length text from bytes.
        set_text(dataset, "_Encoding", TEXT)
    if variable.is_scale(name):
        dataset.make_scale(name)
    for axis, dim in enumerate(variable.dims):
        if dim != name:
            dataset.dims[axis].attach_scale(file[dim])
    return dataset

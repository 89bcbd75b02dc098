"""Whether an archive's file is what was written: schema, checksums, digest."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from iaside_onnx.archive.datasets import text_of
from iaside_onnx.archive.digest import DIGEST, digest_of
from iaside_onnx.archive.metadata import attributes_of
from iaside_onnx.archive.reading import KIND, kind_of, open_any
from iaside_onnx.archive.schema import TEXT, Variable
from iaside_onnx.archive.structure import SCALES
from iaside_onnx.errors import ArchiveError
from iaside_onnx.hdf5 import open_hdf5

__all__ = ["check_file"]

_HEAP = b"GCOL\x01\x00\x00\x00"
# Bytes before a heap's first object, and before each object's data.
_HEAD = 16


def check_file(path: Path) -> list[str]:
    """All that is wrong with the file of an archive, one sentence each; none if it is whole.

    Raises:
        ArchiveError: if the file is no archive that can be read at all.
    """
    open_any(path)
    damaged = list(_heaps(path))
    if damaged:
        return damaged
    try:
        with open_hdf5(path) as file:
            problems = [*_schema(file), *_checksums(file)]
            return problems or _digest(file)
    # What h5py raises on damage that the reader does not meet.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ArchiveError(f"{path}: is damaged ({' '.join(str(error).split())})") from error


def _heaps(path: Path) -> Iterator[str]:
    """Look at the heaps that hold references to scales: HDF5 reads for ever where one is damaged.

    They are the one structure of the format that has no checksum; see "Global Heap" in the HDF5
    File Format Specification, III.E.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = data.find(_HEAP)
        while place >= 0:
            if not _is_whole_heap(data, place):
                yield f"the heap at byte {place} is damaged"
            place = data.find(_HEAP, place + 1)


def _is_whole_heap(data: mmap.mmap, place: int) -> bool:
    """Whether the objects of a heap fill it, one after the other, up to the free space."""
    size = int.from_bytes(data[place + 8 : place + 16], "little")
    if size < _HEAD or place + size > len(data):
        return False
    cursor, seen = _HEAD, set()
    while size - cursor >= _HEAD:
        start = place + cursor
        index = int.from_bytes(data[start : start + 2], "little")
        length = int.from_bytes(data[start + 8 : start + 16], "little")
        if index == 0:
            # Free space, which counts its own head.
            return length == size - cursor
        if not length or index in seen:
            return False
        seen.add(index)
        # Each begins at a multiple of eight bytes.
        cursor += _HEAD + -(-length // 8) * 8
    return cursor <= size


def _schema(file: h5py.File) -> Iterator[str]:
    kind = kind_of(file)
    declared = kind.schema.of(file)
    # The scale of an axis that has no coordinate of its own is not a variable.
    for name in sorted(set(file) - declared.keys()):
        yield f"{name!r} is in the file, but not in the schema"
    for name, variable in declared.items():
        if name in file:
            yield from _variable(file, name, variable)
    for name in sorted(set(file.attrs) - attributes_of(kind.metadata).keys() - {KIND}):
        yield f"the attribute {name!r} is in the file, but not in the schema"


def _variable(file: h5py.File, name: str, variable: Variable) -> Iterator[str]:
    dataset = file[name]
    if variable.dtype != TEXT and dataset.dtype != np.dtype(variable.dtype):
        yield f"the variable {name!r} is of type {dataset.dtype}, not {variable.dtype}"
    for attribute, wanted in (("units", variable.units), ("long_name", variable.long_name)):
        found = text_of(dataset.attrs.get(attribute, ""))
        if found != wanted:
            yield f"the {attribute} of {name!r} is {found!r}, not {wanted!r}"
    # Readers obey some of them: scale factors, fill values, calendars.
    known = {"long_name", "units", *SCALES, *(["_Encoding"] if variable.dtype == TEXT else [])}
    for attribute in sorted(set(dataset.attrs) - known):
        yield f"the attribute {attribute!r} of {name!r} is not in the schema"
    if dataset.shape and not dataset.fletcher32:
        yield f"the variable {name!r} has no checksums"
    for axis, dim in enumerate(variable.dims):
        scales = [str(scale.name) for scale in dataset.dims[axis].values()]
        if dim != name and scales != [f"/{dim}"]:
            yield f"axis {axis} of {name!r} has the scales {scales}, not {dim!r}"


def _checksums(file: h5py.File) -> Iterator[str]:
    for name in sorted(file):
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset) or not dataset.chunks:
            continue
        for chunk in dataset.iter_chunks():
            try:
                dataset[chunk]
            except (OSError, RuntimeError):
                yield f"the variable {name!r} cannot be read at {_place(chunk)}: wrong checksum"


def _place(chunk: Any) -> str:
    rows = chunk[0]
    return f"rows {rows.start} to {rows.stop - 1}"


def _digest(file: h5py.File) -> list[str]:
    if DIGEST not in file.attrs:
        return [
            "there is no digest, so metadata may have been changed; it was made by an old iaside"
        ]
    stored, found = str(text_of(file.attrs[DIGEST])), digest_of(file)
    if stored == found:
        return []
    return [f"the digest is {found[:16]}..., not {stored[:16]}...: a value or an attribute changed"]

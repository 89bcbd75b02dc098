"""Whether the file of an archive is as it was written: schema, checksums, digest."""

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
from iaside_onnx.errors import ArchiveError
from iaside_onnx.hdf5 import open_hdf5

__all__ = ["check_file", "refuse_changed"]

_NO_DIGEST = (
    "there is no digest, so metadata may have been changed; an old version of iaside wrote the file"
)

_HEAP = b"GCOL\x01\x00\x00\x00"
# Bytes of the header of a heap, and of the header of each object in it.
_HEADER = 16


def check_file(path: Path) -> list[str]:
    """List what is wrong with the file of an archive, one sentence each; empty if nothing is.

    Raises:
        ArchiveError: if the file cannot be read as an archive at all.
    """
    open_any(path)
    damaged = list(_heaps(path))
    if damaged:
        return damaged
    try:
        with open_hdf5(path) as file:
            problems = list(_schema(file))
            return problems or _content(file)
    # What h5py raises on damage in parts of the file that opening does not read.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ArchiveError(f"{path}: is damaged ({' '.join(str(error).split())})") from error


def refuse_changed(path: Path, done: str) -> None:
    """Refuse an archive that is not as it was written; every byte of it is read.

    The first archives have no digest, and are taken as they are.

    Args:
        path: the archive.
        done: what cannot be done with it, as a participle for the message.

    Raises:
        ArchiveError: if it was edited or is damaged.
    """
    problems = [problem for problem in check_file(path) if problem != _NO_DIGEST]
    if problems:
        raise ArchiveError(f"{path}: cannot be {done}: {problems[0]} (iaside verify says all)")


def _heaps(path: Path) -> Iterator[str]:
    """Check the heaps of references to scales: HDF5 never returns from reading a damaged one.

    They are the only structure of the format without a checksum; see "Global Heap" in the HDF5
    File Format Specification, III.E.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        offset = data.find(_HEAP)
        while offset >= 0:
            if not _is_whole_heap(data, offset):
                yield f"the heap at byte {offset} is damaged"
            offset = data.find(_HEAP, offset + 1)


def _is_whole_heap(data: mmap.mmap, offset: int) -> bool:
    """Whether the objects of a heap fill it without a gap, up to the free space."""
    size = int.from_bytes(data[offset + 8 : offset + 16], "little")
    if size < _HEADER or offset + size > len(data):
        return False
    cursor, seen = _HEADER, set()
    while size - cursor >= _HEADER:
        start = offset + cursor
        index = int.from_bytes(data[start : start + 2], "little")
        length = int.from_bytes(data[start + 8 : start + 16], "little")
        if index == 0:
            # Free space, whose length includes its header.
            return length == size - cursor
        if not length or index in seen:
            return False
        seen.add(index)
        # Objects are aligned to eight bytes.
        cursor += _HEADER + -(-length // 8) * 8
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
            yield f"the {attribute} of {name!r} is {str(found)!r}, not {wanted!r}"
    if dataset.shape and not dataset.fletcher32:
        yield f"the variable {name!r} has no checksums"
    for axis, dim in enumerate(variable.dims):
        scales = [str(scale.name) for scale in dataset.dims[axis].values()]
        if dim != name and scales != [f"/{dim}"]:
            yield f"axis {axis} of {name!r} has the scales {scales}, not {dim!r}"


def _content(file: h5py.File) -> list[str]:
    """Read every value once: a digest needs all of them, and reading checks the checksums."""
    try:
        found = _digest(file)
    except (OSError, RuntimeError):
        found = [_NO_DIGEST]
    # A digest that is wrong, missing or not to be had: are all chunks as they were written?
    return (list(_checksums(file)) or found) if found else []


def _checksums(file: h5py.File) -> Iterator[str]:
    for name in sorted(file):
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset) or not dataset.chunks:
            continue
        for chunk in dataset.iter_chunks():
            try:
                dataset[chunk]
            except (OSError, RuntimeError):
                yield f"the variable {name!r} cannot be read at {_rows_of(chunk)}: wrong checksum"


def _rows_of(chunk: Any) -> str:
    rows = chunk[0]
    return f"rows {rows.start} to {rows.stop - 1}"


def _digest(file: h5py.File) -> list[str]:
    if DIGEST not in file.attrs:
        return [_NO_DIGEST]
    stored, found = str(text_of(file.attrs[DIGEST])), digest_of(file)
    if stored == found:
        return []
    return [f"the digest is {found[:16]}..., not {stored[:16]}...: a value or an attribute changed"]

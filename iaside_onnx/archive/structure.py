"""Refusing files with structures that no archive has, before any value is read.

Files may come from strangers. HDF5 follows links into other files, reads the external storage that
a dataset names, loads plug-ins for filters that it does not have, and allocates memory for the
sizes that the file states.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py

from iaside_onnx.errors import ArchiveError

__all__ = ["SCALES", "refuse_unsafe"]

# gzip, shuffle and Fletcher-32: built into every HDF5.
_FILTERS = frozenset([h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32])
# gzip expands a byte to fewer bytes than this.
_MAX_EXPANSION = 1100
_MAX_CHUNK_BYTES = 1 << 28
_NUMBERS = frozenset([h5py.h5t.INTEGER, h5py.h5t.FLOAT])
SCALES = frozenset(["CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"])
"""Attributes of which HDF5's dimension scales consist; their values are never read here."""


def refuse_unsafe(path: Path, file: h5py.File) -> None:
    """Refuse a file with anything but plain datasets and attributes of this one file.

    Raises:
        ArchiveError: if it has a link, a group, external or virtual storage, a filter or a type
            that the schema does not use, or a size for which the file has no data.
    """
    _attributes(path, file, "the file")
    for name in file:
        _dataset(path, file, name)


def _dataset(path: Path, file: h5py.File, name: str) -> None:
    what = f"the variable {name!r}"
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        _refuse(path, f"{what} is a link, which is not followed")
    if file.get(name, getclass=True) is not h5py.Dataset:
        _refuse(path, f"{what} is not a dataset of this file")
    dataset = file[name]
    if dataset.external or dataset.is_virtual:
        _refuse(path, f"{what} is not a dataset of this file: its values are in another")
    properties = dataset.id.get_create_plist()
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if filters - _FILTERS:
        _refuse(path, f"{what} is stored with the filter {min(filters - _FILTERS)}, not with gzip")
    if not _is_plain(dataset.id.get_type()):
        _refuse(path, f"{what} has a type that is neither a number nor text of fixed length")
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if chunk > _MAX_CHUNK_BYTES:
        _refuse(path, f"{what} has chunks of {chunk} bytes")
    if dataset.nbytes > _MAX_EXPANSION * dataset.id.get_storage_size():
        raise ArchiveError(f"{path}: {what} is only partly filled; the archive is damaged")
    _attributes(path, dataset, what)


def _is_plain(kind: Any) -> bool:
    """Whether a type is a number or text of fixed length, and not a named type of the file."""
    text = kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str()
    return not kind.committed() and (text or kind.get_class() in _NUMBERS)


def _attributes(path: Path, found: Any, where: str) -> None:
    for name in found.attrs:
        if name in SCALES:
            continue
        attribute = found.attrs.get_id(name)
        kind = attribute.get_type()
        text = kind.get_class() == h5py.h5t.STRING
        if kind.committed() or not (text or _is_plain(kind)) or attribute.shape:
            _refuse(path, f"the attribute {name!r} of {where} is not a single number or text")


def _refuse(path: Path, what: str) -> None:
    raise ArchiveError(f"{path}: {what}; the archive was edited, or was not made by iaside")

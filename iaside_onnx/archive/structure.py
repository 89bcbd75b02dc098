"""Refusing files with structures that no archive has, before any value is read.

Files may come from strangers. HDF5 follows links into other files, reads the external storage that
a dataset names, loads plug-ins for filters that it does not have, and allocates memory for the
sizes that the file states.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from iaside_onnx.archive.datasets import text_of
from iaside_onnx.archive.schema import TEXT, Variable
from iaside_onnx.archive.strict import MAX_TEXT
from iaside_onnx.errors import ArchiveError

__all__ = ["refuse_decoding", "refuse_unsafe"]

# gzip, shuffle and Fletcher-32: built into every HDF5.
_FILTERS = frozenset([h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32])
# gzip expands a byte to fewer bytes than this.
_MAX_EXPANSION = 1100
# Chunks are read whole. Those of text are of so many rows, whatever the length of a row.
_MAX_CHUNK_BYTES, _MAX_TEXT_CHUNK_BYTES = 1 << 26, 1 << 28
# Archives of models whose answers vary unpack to three times their length at most; constant worths
# to a thousand times.
_LIKELY_EXPANSION, _ALWAYS_ALLOWED = 100, 1 << 28
_NUMBER_BYTES, _SHOWN = 16, 60
_LIMIT, _MOST_DIGITS = "IASIDE_MAX_UNPACKED", 20
_NUMBERS = frozenset([h5py.h5t.INTEGER, h5py.h5t.FLOAT])
# Attributes of which HDF5's dimension scales consist.
_SCALES = frozenset(["CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"])
# The attribute of the root that xarray acts upon.
_COORDINATES = "coordinates"


def refuse_unsafe(path: Path, file: h5py.File) -> None:
    """Refuse a file with anything but plain datasets and attributes of this one file.

    Raises:
        ArchiveError: if it has a link, a group, external or virtual storage, a filter or a type
            that the schema does not use, or a size for which the file has no data.
    """
    _attributes(path, file, "the file")
    for name in file:
        _dataset(path, file, name)
    _unpacked(path, sum(file[name].nbytes for name in file))


def _unpacked(path: Path, size: int) -> None:
    """Refuse a small file that unpacks to much more than its length; reading it takes for ever."""
    allowed = max(_ALWAYS_ALLOWED, _LIKELY_EXPANSION * path.stat().st_size)
    given = os.environ.get(_LIMIT, "")
    if given:
        if not (given.isascii() and given.isdecimal() and len(given) < _MOST_DIGITS):
            raise ArchiveError(
                f"{path}: cannot be read while the environment variable {_LIMIT} is {given!r}, "
                "which is not a number of bytes"
            )
        allowed = int(given)
    if size > allowed:
        raise ArchiveError(
            f"{path}: unpacks to {size:,} bytes, far more than its length makes likely "
            f"({allowed:,} are allowed); if you know where it comes from, set the environment "
            f"variable {_LIMIT} to as many bytes"
        )


def refuse_decoding(path: Path, file: h5py.File, declared: Mapping[str, Variable]) -> None:
    """Refuse attributes by which xarray and others would read other values than are stored.

    Such are units of time, scale factors, fill values, encodings, and the name of a dimension.

    Raises:
        ArchiveError: if a variable has one that is not in the schema, or with another value.
    """
    if _COORDINATES in file.attrs:
        _refuse(path, f"the attribute {_COORDINATES!r} of the file is not in the schema")
    for name, variable in declared.items():
        is_scale, text = variable.is_scale(name), variable.dtype == TEXT
        wanted = {"units": variable.units, "_Encoding": TEXT if text else ""}
        wanted |= {"CLASS": "DIMENSION_SCALE", "NAME": name} if is_scale else {}
        attributes = file[name].attrs
        for attribute in sorted(
            set(attributes) - {"long_name", "DIMENSION_LIST", "REFERENCE_LIST"}
        ):
            if not wanted.get(attribute):
                _refuse(path, f"the attribute {attribute!r} of {name!r} is not in the schema")
            found = _short_text(attributes, attribute)
            if found != wanted[attribute]:
                _refuse(
                    path, f"the {attribute} of {name!r} is {found!r}, not {wanted[attribute]!r}"
                )


def _short_text(attributes: Any, name: str) -> str:
    """An attribute as text, shortened; a type that is no text by its name."""
    stored = attributes.get_id(name)
    if stored.shape or stored.get_type().get_class() != h5py.h5t.STRING:
        return "no text"
    return str(text_of(attributes[name]))[:_SHOWN]


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
    _chunks(path, dataset, what)
    if dataset.nbytes > _MAX_EXPANSION * dataset.id.get_storage_size():
        raise ArchiveError(f"{path}: {what} is only partly filled; the archive is damaged")
    _attributes(path, dataset, what)


def _chunks(path: Path, dataset: Any, what: str) -> None:
    size, chunks = dataset.dtype.itemsize, dataset.chunks or ()
    most = _MAX_TEXT_CHUNK_BYTES if dataset.dtype.kind == "S" else _MAX_CHUNK_BYTES
    chunk, row = math.prod(chunks) * size, math.prod(dataset.shape[1:]) * size
    if max(chunk, row) > most:
        _refuse(
            path, f"{what} has {'chunks' if chunk > most else 'rows'} of {max(chunk, row)} bytes"
        )
    if any(length > axis for length, axis in zip(chunks, dataset.shape, strict=False)):
        _refuse(path, f"{what} has chunks that are larger than itself")


def _is_plain(kind: Any) -> bool:
    """Whether a type is a number or text of fixed length, and not a named type of the file."""
    text = kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str()
    return not kind.committed() and (text or kind.get_class() in _NUMBERS)


def _attributes(path: Path, found: Any, where: str) -> None:
    for name in found.attrs:
        if name in _SCALES:
            continue
        attribute = found.attrs.get_id(name)
        kind = attribute.get_type()
        text = kind.get_class() == h5py.h5t.STRING
        if kind.get_size() > (MAX_TEXT if text else _NUMBER_BYTES):
            _refuse(path, f"the attribute {name!r} of {where} is {kind.get_size()} bytes long")
        if kind.committed() or not (text or _is_plain(kind)) or attribute.shape:
            _refuse(path, f"the attribute {name!r} of {where} is not a single number or text")


def _refuse(path: Path, what: str) -> None:
    raise ArchiveError(f"{path}: {what}; the archive was edited, or was not made by iaside")

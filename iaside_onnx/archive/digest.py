"""One hash over the content of an archive: values, types, shapes, axes and attributes."""

from __future__ import annotations

import hashlib
from typing import Any

import h5py
import numpy as np

__all__ = ["DIGEST", "digest_of"]

DIGEST = "digest"
"""The root attribute that holds the digest; it is left out of the digest."""

_ROWS_BYTES = 1 << 24
# HDF5 stores dimension scales as references to places in the file, which are not content.
_REFERENCES = ("DIMENSION_LIST", "REFERENCE_LIST")


def digest_of(file: h5py.File) -> str:
    """SHA-256 over the root's attributes and every object, by name, as 64 hexadecimal digits.

    For each object, in the order of its name as UTF-8: name; of a dataset its type (NumPy's string
    for it), shape, the names of the scales of each axis, and its values in C order, little-endian;
    and its attributes in the order of their names, each with type, shape and value. Chunks and
    compression do not change the digest.

    Raises:
        OSError: if a chunk cannot be read because its checksum is wrong.
    """
    digest = hashlib.sha256()
    _add_attributes(digest, file, skip=(DIGEST,))
    names: list[str] = []
    file.visit(names.append)
    for name in sorted(names, key=str.encode):
        _add(digest, "object", name)
        found = file[name]
        if isinstance(found, h5py.Dataset):
            _add_dataset(digest, found)
        _add_attributes(digest, found, skip=_REFERENCES)
    return digest.hexdigest()


def _add(digest: Any, *words: object) -> None:
    """Hash words with their lengths, so that no two sequences of words are the same bytes."""
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        digest.update(f"{len(data)}:".encode())
        digest.update(data)


def _add_dataset(digest: Any, dataset: h5py.Dataset) -> None:
    scales = [sorted(str(scale.name) for scale in axis.values()) for axis in dataset.dims]
    _add(digest, _type(dataset.dtype), dataset.shape, scales)
    if not dataset.shape:
        _add(digest, _bytes(np.asarray(dataset[()])))
        return
    row = max(dataset.dtype.itemsize * int(np.prod(dataset.shape[1:])), 1)
    step = max(_ROWS_BYTES // row, 1)
    for start in range(0, dataset.shape[0], step):
        digest.update(_bytes(np.asarray(dataset[start : start + step])))


def _add_attributes(digest: Any, found: Any, skip: tuple[str, ...]) -> None:
    for name in sorted(found.attrs, key=str.encode):
        if name in skip:
            continue
        value = found.attrs[name]
        if isinstance(value, str | bytes):
            _add(digest, "attribute", name, "text", value)
        else:
            array = np.asarray(value)
            _add(digest, "attribute", name, _type(array.dtype), array.shape, _bytes(array))


def _type(dtype: np.dtype[Any]) -> str:
    return dtype.newbyteorder("<").str


def _bytes(values: Any) -> bytes:
    plain = np.ascontiguousarray(values)
    return bytes(plain.astype(plain.dtype.newbyteorder("<"), copy=False).tobytes())

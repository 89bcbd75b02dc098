"""Arrays of images and labels in .npy, .npz and HDF5 files."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.arrays import DAMAGE, ArrayLike, ArraySource
from iaside_onnx.images.hdf5 import open_datasets
from iaside_onnx.images.keys import Keys, choose_keys
from iaside_onnx.images.left_out import LeftOut

__all__ = ["ARRAY_SUFFIXES", "open_arrays"]

ARRAY_SUFFIXES = (".npy", ".npz", ".h5", ".hdf5")

# A compressed member of a .npz cannot be memory-mapped, so it must fit in memory.
_MAX_UNPACKED_BYTES = 2 * 2**30
_PART_BYTES = 2**24
_MAX_HEADER_BYTES = 2**16

_Found: TypeAlias = "tuple[ArrayLike, ArrayLike | None, Sequence[str], Sequence[str]]"
"""Images, labels, the names of both, and those of arrays that are neither."""


def open_arrays(
    path: Path, classes: dict[str, int] | None = None, keys: Keys | None = None
) -> ArraySource:
    """Open the array ``images`` and, if present, ``labels`` of one file.

    Args:
        path: the file.
        classes: class index of each name, for labels that are names.
        keys: names of the arrays, if they are others; see `choose_keys`.

    Raises:
        ImageError: the file is missing, damaged, or has no such arrays.
    """
    if not path.is_file():
        found = "is not a file" if path.exists() else "does not exist"
        raise ImageError(f"{path} {found}; check the path")
    readers = {".npy": _open_npy, ".npz": _open_npz, ".h5": open_datasets, ".hdf5": open_datasets}
    try:
        images, labels, used, others = readers[path.suffix.lower()](path, keys or Keys())
    except ImageError:
        raise
    except DAMAGE as failure:
        reason = " ".join(str(failure).split())
        raise ImageError(
            f"{path} cannot be read ({reason}); it is damaged, create it again"
        ) from None
    notes = []
    if used and used[0] not in ("images", keys and keys.images):
        notes.append(f"images and labels of {path}: the arrays {', '.join(used)}")
    left_out = LeftOut()
    for name in others:
        left_out.add("arrays" if len(others) > 1 else "array", name)
    notes += left_out.notes(str(path))
    return ArraySource(images, labels, str(path), classes, notes)


def _open_npy(path: Path, keys: Keys) -> _Found:
    keys.refuse(str(path))
    with path.open("rb") as file:
        return _mapped(path, file, "the array"), None, (), ()


def _mapped(path: Path, file: IO[bytes], name: str) -> NDArray[Any]:
    """Memory-map the array that begins at the position of ``file`` in ``path``."""
    shape, fortran, dtype = _npy_header(file)
    _refuse_objects(dtype, path, name)
    if 0 in shape:
        # An empty range cannot be mapped.
        return np.empty(shape, dtype)
    order: Literal["F", "C"] = "F" if fortran else "C"
    start = file.tell()
    # Python integers: NumPy's product of a hostile shape would overflow.
    size, available = math.prod(shape) * dtype.itemsize, path.stat().st_size - start
    if min(shape, default=0) < 0 or size > available:
        raise ValueError(
            f"shape {shape} of {dtype} takes {size} bytes, but the file has {available}"
        )
    return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape, order=order)


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (2, 0):
        length = file.read(4)
        if int.from_bytes(length, "little") > _MAX_HEADER_BYTES:
            raise ValueError("its header is too long")
        file.seek(-4, io.SEEK_CUR)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the NumPy format is not supported")


def _refuse_objects(dtype: np.dtype[Any], path: Path, name: str) -> None:
    # Objects are pickled, and unpickling runs code from the file.
    if dtype.hasobject:
        raise ImageError(
            f"{path}: {name} holds Python objects, which are not read; save a plain array, "
            "uint8 or float in [0, 1]"
        )


def _open_npz(path: Path, keys: Keys) -> _Found:
    with zipfile.ZipFile(path) as archive:
        names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
        images_key, labels_key = choose_keys(names, keys, str(path))
        images = _npz_member(path, archive, images_key)
        labels = None
        if labels_key is not None:
            labels = _npz_member(path, archive, labels_key, rows=images.shape[:1])
    used = [key for key in (images_key, labels_key) if key is not None]
    return images, labels, used, [name for name in names if name not in used]


def _npz_member(
    path: Path, archive: zipfile.ZipFile, name: str, rows: tuple[int, ...] = ()
) -> NDArray[Any]:
    """Open one array of a .npz file: memory-mapped if it is uncompressed, read otherwise.

    Args:
        path: the file.
        archive: the same file, opened.
        name: the array.
        rows: beginning of the shape that a compressed array must have.

    Raises:
        ImageError: the array holds objects, has another shape, or would take too much memory.
    """
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
        with path.open("rb") as file:
            # The local header's name and extra field may differ in length from the directory's.
            file.seek(info.header_offset + 26)
            lengths = file.read(4)
            skip = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            file.seek(info.header_offset + 30 + skip)
            return _mapped(path, file, name)
    with archive.open(info) as member:
        shape, fortran, dtype = _npy_header(member)
        _refuse_objects(dtype, path, name)
        if shape[: len(rows)] != rows:
            raise ImageError(
                f"{path}: {name} have shape {shape}, but there are {rows[0]} images; one label "
                f"per image, shape {rows}, was expected"
            )
        values = _decompressed(member, shape, dtype, f"{path}: {name}")
    return values.reshape(shape, order="F" if fortran else "C")


def _decompressed(
    member: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], where: str
) -> NDArray[Any]:
    """Read the values of a compressed array, in the order of the file, ``(prod(shape),)``.

    Raises:
        ImageError: they would take too much memory.
    """
    size = math.prod(shape) * dtype.itemsize
    if size > _MAX_UNPACKED_BYTES:
        raise ImageError(
            f"{where} is compressed and would take {size} bytes of memory, over the limit of "
            f"{_MAX_UNPACKED_BYTES}; save it with np.savez, as .npy or as .h5"
        )
    if min(shape, default=0) < 0:
        raise ValueError(f"it has shape {shape}")
    values = np.empty(math.prod(shape), dtype)
    # Filled in place, so that the data is never held twice.
    buffer = values.view(np.uint8)
    for start in range(0, buffer.size, _PART_BYTES):
        wanted = min(_PART_BYTES, buffer.size - start)
        part = member.read(wanted)
        if len(part) < wanted:
            raise EOFError("it is cut short")
        buffer[start : start + len(part)] = np.frombuffer(part, np.uint8)
    return values

"""Images in one array, in memory or in a .npy, .npz or HDF5 file, read one at a time."""

from __future__ import annotations

import hashlib
import io
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.decode import MAX_PIXELS
from iaside_onnx.images.labels import checked_labels
from iaside_onnx.images.prepare import prepare_array
from iaside_onnx.images.preprocess import Preprocess
from iaside_onnx.images.source import PreparedImage, SourceKind, check_index, numbered

__all__ = ["ARRAY_SUFFIXES", "ArraySource", "open_arrays"]

ARRAY_SUFFIXES = (".npy", ".npz", ".h5", ".hdf5")

# A compressed member of a .npz cannot be memory-mapped, so it must fit in memory.
_MAX_UNPACKED_BYTES = 2 * 2**30
# HDF5 decompresses a whole chunk to read one image of it.
_MAX_CHUNK_BYTES = 2**30
# Largest compression ratio of the filters that every HDF5 library has.
_MAX_EXPANSION = 1100
_PART_BYTES = 2**24
_MAX_HEADER_BYTES = 2**16
_TOLERANCE = 1e-6

# Exceptions of NumPy's header parser, zipfile, its decompressors, mmap and h5py on damaged or
# hostile files.
_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    RuntimeError,
    KeyError,
    IndexError,
    OverflowError,
    SyntaxError,
    tokenize.TokenError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


class _ArrayLike(Protocol):
    """The common interface of NumPy arrays, memory maps and HDF5 datasets."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, index: Any, /) -> Any: ...


class ArraySource:
    """Images in an array ``(n, height, width[, channels])``, uint8 or float in [0, 1].

    Raises:
        ImageError: the images or the labels have another shape or type.
    """

    def __init__(
        self,
        images: _ArrayLike,
        labels: _ArrayLike | None,
        where: str,
        classes: dict[str, int] | None = None,
    ) -> None:
        _check_images(images, where)
        self.kind: SourceKind = "arrays"
        self.where = where
        self.images = images
        self.labels = None if labels is None else checked_labels(labels, len(self), where)
        self.classes = classes
        self.size: tuple[int, int] | None = (images.shape[1], images.shape[2])
        self.ids: Sequence[str] = numbered(len(self))

    def __len__(self) -> int:
        return self.images.shape[0]

    def sha256(self, index: int) -> str:
        """SHA-256 over type, shape and values of one image, in hexadecimal digits.

        Raises:
            ImageError: there is no such image, or the file cannot be read there.
        """
        return _hash(self._image(index))

    def read(self, index: int, spec: Preprocess) -> PreparedImage:
        """Prepare one image of the array.

        Raises:
            ImageError: there is no such image, a value is NaN or outside [0, 1], or the file cannot
                be read there.
        """
        image = self._image(index)
        try:
            pixels = prepare_array(_in_range(image), spec)
        except ImageError as error:
            raise ImageError(f"{self.where}: image {index}: {error}") from None
        return PreparedImage(pixels, _hash(image))

    def _image(self, index: int) -> NDArray[Any]:
        check_index(index, len(self), self.where)
        try:
            return np.asarray(self.images[index])
        except _DAMAGE as failure:
            raise ImageError(
                f"{self.where}: image {index} cannot be read ({failure}); the file is damaged, "
                "create it again"
            ) from None

    def describe(self) -> str:
        """Name of the array, number of images, their size and type."""
        count = f"{len(self)} image{'' if len(self) == 1 else 's'}"
        sides = " x ".join(str(side) for side in self.images.shape[1:])
        return f"arrays {self.where} ({count} of {sides}, {self.images.dtype})"


def open_arrays(path: Path, classes: dict[str, int] | None = None) -> ArraySource:
    """Open the array ``images`` and, if present, ``labels`` of one file.

    Raises:
        ImageError: the file is missing, damaged, or has no such arrays.
    """
    if not path.is_file():
        found = "is not a file" if path.exists() else "does not exist"
        raise ImageError(f"{path} {found}; check the path")
    readers = {".npy": _open_npy, ".npz": _open_npz, ".h5": _open_hdf5, ".hdf5": _open_hdf5}
    try:
        images, labels = readers[path.suffix.lower()](path)
    except ImageError:
        raise
    except _DAMAGE as failure:
        reason = " ".join(str(failure).split())
        raise ImageError(
            f"{path} cannot be read ({reason}); it is damaged, create it again"
        ) from None
    return ArraySource(images, labels, str(path), classes)


def _open_npy(path: Path) -> tuple[_ArrayLike, _ArrayLike | None]:
    with path.open("rb") as file:
        return _mapped(path, file, "the array"), None


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


def _open_npz(path: Path) -> tuple[_ArrayLike, _ArrayLike | None]:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        _require_images(names, path)
        images = _npz_member(path, archive, "images")
        labels = None
        if "labels" in names:
            labels = _npz_member(path, archive, "labels", expected=images.shape[:1])
    return images, labels


def _require_images(names: Sequence[str], path: Path) -> None:
    if "images" not in names:
        present = ", ".join(sorted(names)[:8]) or "nothing"
        raise ImageError(
            f"{path} has no array named images (it has {present}); save the array images and, "
            "if there are labels, the array labels"
        )


def _npz_member(
    path: Path, archive: zipfile.ZipFile, name: str, expected: tuple[int, ...] | None = None
) -> NDArray[Any]:
    """Open one array of a .npz file: memory-mapped if it is uncompressed, read otherwise.

    Args:
        path: the file.
        archive: the same file, opened.
        name: the array.
        expected: shape that a compressed array must have; None allows any.

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
        if expected is not None and shape != expected:
            raise ImageError(
                f"{path}: {name} have shape {shape}, but there are {expected[0]} images; one label "
                f"per image, shape {expected}, was expected"
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


def _open_hdf5(path: Path) -> tuple[_ArrayLike, _ArrayLike | None]:
    from iaside_onnx.hdf5 import open_hdf5

    # Stays open as long as the source is used.
    file = open_hdf5(path)
    _require_images(list(file), path)
    labels = _dataset(file, "labels", path) if "labels" in file else None
    return _dataset(file, "images", path), labels


def _dataset(file: Any, name: str, path: Path) -> _ArrayLike:
    """A dataset whose values are all stored in this file.

    Raises:
        ImageError: it is not a dataset, is stored elsewhere, holds objects, has too large chunks,
            or claims more values than the stored bytes can hold.
    """
    import h5py

    plain = isinstance(file.get(name, getlink=True), h5py.HardLink)
    if plain and not isinstance(file[name], h5py.Dataset):
        raise ImageError(f"{path}: {name} is not a dataset; save an array under this name")
    if not plain or file[name].external or file[name].is_virtual:
        raise ImageError(
            f"{path}: {name} is stored in another file (a link, external storage or a virtual "
            "dataset), which is not followed; copy the values into this file"
        )
    dataset: _ArrayLike = file[name]
    _refuse_objects(dataset.dtype, path, name)
    chunks = file[name].chunks or (1,)
    size = dataset.dtype.itemsize
    for side in chunks:
        size *= side
    if size > _MAX_CHUNK_BYTES:
        raise ImageError(
            f"{path}: {name} has chunks of {size} bytes, over the limit of {_MAX_CHUNK_BYTES}; "
            "save it with one image per chunk"
        )
    stored = file[name].id.get_storage_size()
    if file[name].nbytes > _MAX_EXPANSION * stored and _is_built_in(file[name]):
        raise ImageError(
            f"{path}: {name} of shape {dataset.shape} is incomplete: only {stored} bytes are "
            "stored; create the file again"
        )
    return dataset


def _is_built_in(dataset: Any) -> bool:
    """Whether only gzip, shuffle and checksums are applied; other filters may compress more."""
    properties = dataset.id.get_create_plist()
    return all(properties.get_filter(i)[0] <= 3 for i in range(properties.get_nfilters()))


def _check_images(images: _ArrayLike, where: str) -> None:
    shape, dtype = images.shape, images.dtype
    if len(shape) not in (3, 4):
        raise ImageError(
            f"{where}: images have shape {shape}; (n, height, width) or (n, height, width, "
            "channels) was expected, reshape them"
        )
    if shape[0] == 0:
        raise ImageError(f"{where}: there are no images; save at least one")
    if len(shape) == 4 and shape[3] not in (1, 2, 3, 4):
        hint = "transpose to channels last" if shape[1] in (1, 2, 3, 4) else "reshape them"
        raise ImageError(
            f"{where}: images have shape {shape}, with {shape[3]} channels; 1 to 4 channels "
            f"in the last axis were expected, {hint}"
        )
    if not 0 < shape[1] * shape[2] <= MAX_PIXELS:
        raise ImageError(
            f"{where}: images have {shape[1]} x {shape[2]} pixels; 1 to {MAX_PIXELS} pixels were "
            "expected, resize them"
        )
    if dtype != np.uint8 and (dtype.kind != "f" or dtype.itemsize > 8):
        raise ImageError(
            f"{where}: images have type {dtype}; uint8, or float in [0, 1], was expected, "
            "convert them"
        )


def _hash(image: NDArray[Any]) -> str:
    digest = hashlib.sha256(f"{image.dtype.str}{image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _in_range(image: NDArray[Any]) -> NDArray[Any]:
    """Clip floats that exceed [0, 1] by rounding only; uint8 is returned as it is.

    Raises:
        ImageError: a value is NaN, or further outside [0, 1].
    """
    if image.dtype.kind != "f":
        return image
    low, high = float(image.min()), float(image.max())
    if low >= -_TOLERANCE and high <= 1 + _TOLERANCE:
        return image.clip(0, 1)
    if np.isnan(low):
        raise ImageError("it has NaN values; replace or remove the image")
    hint = "scale it to [0, 1]"
    if low >= 0 and 1.5 < high <= 255:
        hint = "it looks like 0..255: divide by 255"
    elif low >= -1 - _TOLERANCE and high <= 1 + _TOLERANCE:
        hint = "it looks like -1..1: add 1 and divide by 2"
    elif low < 0 < high:
        hint = "it looks already normalised: give the pixels in [0, 1]"
    raise ImageError(f"its values range from {low:g} to {high:g}, not in [0, 1]; {hint}")

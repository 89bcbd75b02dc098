"""Images in one array, in memory or in a file, read one at a time."""

from __future__ import annotations

import hashlib
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.decode import MAX_PIXELS
from iaside_onnx.images.labels import checked_labels
from iaside_onnx.images.prepare import prepare_array
from iaside_onnx.images.preprocess import Preprocess
from iaside_onnx.images.source import PreparedImage, SourceKind, check_index, numbered

__all__ = ["DAMAGE", "ArrayLike", "ArraySource"]

_TOLERANCE = 1e-6

# Exceptions of NumPy's header parser, zipfile, its decompressors, mmap and h5py on damaged or
# hostile files.
DAMAGE = (
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
"""What reading a damaged file may raise."""


class ArrayLike(Protocol):
    """The common interface of NumPy arrays, memory maps and HDF5 datasets."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As in NumPy."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As in NumPy."""

    def __getitem__(self, index: Any, /) -> Any: ...


class ArraySource:
    """Images in an array ``(n, height, width[, channels])``, uint8 or float in [0, 1].

    Args:
        images: the array.
        labels: as `checked_labels` takes them.
        where: name of the source.
        classes: class index of each name.
        notes: what people should know, such as what was left out.

    Raises:
        ImageError: the images or the labels have another shape or type.
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike | None,
        where: str,
        classes: dict[str, int] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        _check_images(images, where)
        self.kind: SourceKind = "arrays"
        self.where = where
        self.images = images
        self.notes = tuple(notes)
        self.labels: NDArray[np.int64] | None = None
        self._hint = ""
        if labels is not None:
            self._set_labels(labels, classes)
        self.classes = classes
        self.size: tuple[int, int] | None = (images.shape[1], images.shape[2])
        self.ids: Sequence[str] = numbered(len(self))

    def _set_labels(self, labels: ArrayLike, classes: dict[str, int] | None) -> None:
        try:
            self.labels = checked_labels(labels, len(self), self.where, classes)
        except ImageError:
            # Without a map the images can still be used where no labels are needed.
            if labels.dtype.kind not in "US" or classes is not None:
                raise
            self._hint = ", whose labels are names that need `classes=FILE`"
        if len(labels.shape) == 2 and labels.shape[1] > 1:
            self.notes += (f"labels of {self.where}: one-hot, {labels.shape[1]} columns",)

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
        except DAMAGE as failure:
            raise ImageError(
                f"{self.where}: image {index} cannot be read ({failure}); the file is damaged, "
                "create it again"
            ) from None

    def describe(self) -> str:
        """Name of the array, number of images, their size and type."""
        count = f"{len(self)} image{'' if len(self) == 1 else 's'}"
        sides = " x ".join(str(side) for side in self.images.shape[1:])
        return f"arrays {self.where}{self._hint} ({count} of {sides}, {self.images.dtype})"


def _check_images(images: ArrayLike, where: str) -> None:
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

"""The interface of an image source, and the prepared image that it returns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.preprocess import Preprocess
from iaside_onnx.types import Pixels

__all__ = ["ImageSource", "PreparedImage", "SourceKind", "check_index", "numbered", "sha256_of"]

SourceKind: TypeAlias = Literal["class-folder", "folder", "arrays", "parquet", "webdataset"]


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """One image, prepared for a model.

    Attributes:
        pixels: ``(channels, height, width)`` in [0, 1].
        sha256: hexadecimal digits of the hash of the bytes of the image file; for arrays, of the
            NumPy type string, the shape as Python prints it, and the bytes in C order.
    """

    pixels: Pixels
    sha256: str


def numbered(n: int) -> list[str]:
    """Ids of ``n`` images that have no names: their indices, padded with zeros."""
    digits = len(str(n - 1))
    return [f"{index:0{digits}d}" for index in range(n)]


def check_index(index: int, n: int, where: str) -> None:
    """Refuse an index that is not one of ``n`` images; a negative one does not count from the end.

    Raises:
        ImageError: the index is outside [0, n).
    """
    if not 0 <= index < n:
        raise ImageError(f"{where}: there is no image {index}; {n} images are numbered from 0")


def sha256_of(data: bytes) -> str:
    """SHA-256 of the bytes of an image file, as in `PreparedImage`."""
    return hashlib.sha256(data).hexdigest()


class ImageSource(Protocol):
    """Images in a fixed order, read one at a time, from any thread."""

    @property
    def kind(self) -> SourceKind:
        """How the images are stored."""

    @property
    def ids(self) -> Sequence[str]:
        """Unique name of each image within the source, with ``/``, or its zero-padded index."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """The source's own labels, ``(n,)``, if it has any."""

    @property
    def classes(self) -> dict[str, int] | None:
        """Class index of each name, if names are known."""

    @property
    def size(self) -> tuple[int, int] | None:
        """``(height, width)`` in pixels if it is known to be the same for all images."""

    @property
    def notes(self) -> Sequence[str]:
        """What people should know before they use the source, such as what was left out."""

    def __len__(self) -> int: ...

    def sha256(self, index: int) -> str:
        """SHA-256 of one image as it is stored now, as in `PreparedImage`, without decoding it.

        Raises:
            ImageError: there is no such image, or it cannot be read; the message names it.
        """

    def read(self, index: int, spec: Preprocess) -> PreparedImage:
        """Read, decode and prepare one image.

        Raises:
            ImageError: there is no such image, or it cannot be read; the message names it.
        """

    def describe(self) -> str:
        """Short description for people: ``class folder photos (200 images, 200 classes)``."""

"""What a source of images gives, and what it promises."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.images.preprocess import Preprocess
from iaside_onnx.types import Pixels

__all__ = ["ImageSource", "Sample", "SourceKind", "numbered", "sha256_of"]

SourceKind: TypeAlias = Literal["class-folder", "folder", "arrays", "parquet", "webdataset"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, prepared for a model.

    Attributes:
        pixels: ``(channels, height, width)`` in [0, 1].
        sha256: Of the bytes of the image file; for arrays, of the NumPy type string, the shape as
            Python prints it, and the bytes in C order.
    """

    pixels: Pixels
    sha256: str


def numbered(n: int) -> list[str]:
    """Names of ``n`` images that have none: their indices, padded with zeros."""
    digits = len(str(n - 1))
    return [f"{index:0{digits}d}" for index in range(n)]


def sha256_of(data: bytes) -> str:
    """Hash of the bytes of an image file, as in `Sample`."""
    return hashlib.sha256(data).hexdigest()


class ImageSource(Protocol):
    """Images in a fixed order, read one at a time, from any thread."""

    @property
    def kind(self) -> SourceKind:
        """How the images are kept."""

    @property
    def ids(self) -> Sequence[str]:
        """Name within the source, with ``/``, or the index padded with zeros."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """The source's own labels, ``(n,)``, if it has any."""

    @property
    def classes(self) -> dict[str, int] | None:
        """Class index of each name, where names are known."""

    @property
    def size(self) -> tuple[int, int] | None:
        """``(height, width)`` where all images share it."""

    def __len__(self) -> int: ...

    def sha256(self, index: int) -> str:
        """Hash of one image as it is now, as in `Sample`; nothing is decoded.

        Raises:
            ImageError: The image cannot be read; the message names it.
        """

    def read(self, index: int, spec: Preprocess) -> Sample:
        """Prepare one image.

        Raises:
            ImageError: The image cannot be read; the message names it.
        """

    def describe(self) -> str:
        """A few words for people, such as ``class folder photos (200 images, 200 classes)``."""

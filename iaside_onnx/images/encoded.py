"""Base class of the sources that hold encoded image files: read, decode, prepare."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.decode import decode_image
from iaside_onnx.images.prepare import prepare
from iaside_onnx.images.preprocess import Preprocess
from iaside_onnx.images.source import PreparedImage, SourceKind, check_index, sha256_of

__all__ = ["MAX_FILE_BYTES", "EncodedSource", "check_length"]

MAX_FILE_BYTES = 512 * 2**20
"""Largest image file, in bytes."""


class EncodedSource(ABC):
    """Images stored as encoded files: in a folder, in Parquet rows, in tar members.

    Args:
        kind: how the images are stored.
        title: short name of the source, for `describe`.
        ids: name of each image within the source.
        labels: ``(n,)``, if there are any.
        classes: class index of each name, if known.
        notes: what people should know of the source, such as what was left out.
    """

    def __init__(
        self,
        kind: SourceKind,
        title: str,
        ids: Sequence[str],
        labels: NDArray[np.int64] | None,
        classes: dict[str, int] | None,
        notes: Sequence[str] = (),
    ) -> None:
        self.kind: SourceKind = kind
        self.title = title
        self.ids = ids
        self.labels = labels
        self.classes = classes
        self.size: tuple[int, int] | None = None
        self.notes = tuple(notes)

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """Read the bytes of one image file.

        Raises:
            ImageError: they cannot be read; the message names the image.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """Name of one image in an error."""

    def sha256(self, index: int) -> str:
        """SHA-256 of the bytes of one image file, in hexadecimal digits.

        Raises:
            ImageError: there is no such image, or it cannot be read.
        """
        check_index(index, len(self), self.title)
        return sha256_of(self.encoded(index))

    def read(self, index: int, spec: Preprocess) -> PreparedImage:
        """Decode and prepare one image.

        Raises:
            ImageError: there is no such image, or it cannot be read, decoded or resized.
        """
        check_index(index, len(self), self.title)
        data, where = self.encoded(index), self.name(index)
        image = decode_image(data, spec.size()[0], where)
        try:
            pixels = prepare(image, spec)
        except ImageError as error:
            raise ImageError(f"{where}: {error}") from None
        return PreparedImage(pixels, sha256_of(data))

    def describe(self) -> str:
        """Kind and name of the source, number of images and of classes."""
        counts = [f"{len(self)} image{'' if len(self) == 1 else 's'}"]
        if self.labels is not None:
            held = len(np.unique(self.labels))
            counts.append(f"{held} class{'' if held == 1 else 'es'}")
        return f"{self.title} ({', '.join(counts)})"


def check_length(size: int, where: str) -> None:
    """Refuse an image file that is too large to be read.

    Raises:
        ImageError: it has more than ``MAX_FILE_BYTES`` bytes.
    """
    if size > MAX_FILE_BYTES:
        raise ImageError(
            f"{where} is larger than the limit of {MAX_FILE_BYTES} bytes; use a smaller file"
        )

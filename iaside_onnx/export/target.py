"""Where an export goes, and what all exports take."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from iaside_onnx.errors import OptionError
from iaside_onnx.images import ImagesLike, Preprocess, read_preprocess

__all__ = ["ExportOptions", "Target", "check_output", "size_of_images"]

OPSET = 18


class ExportOptions(TypedDict, total=False):
    """What all exports take; see `Target`."""

    preprocess: str | Path | Preprocess | None
    images: ImagesLike | None
    tolerance: float
    opset: int
    overwrite: bool


@dataclass(frozen=True, slots=True)
class Target:
    """Where an export goes, and what all of them take.

    Attributes:
        output: the ONNX file to write.
        preprocess: a specification, or where it is, as in `iaside_onnx.Options`.
        images: what the framework and ONNX Runtime are compared on; by default bundled images,
            from as they are to noise, so that all frequencies and colours are there.
        tolerance: largest difference of an output that is no error.
        opset: version of the ONNX operator set to ask for.
        overwrite: replace a file that is there.

    Raises:
        OptionError: a value cannot work, or the output is there.
    """

    output: Path
    preprocess: str | Path | Preprocess | None = None
    images: ImagesLike | None = None
    tolerance: float = 1e-3
    opset: int = OPSET
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_output(self.output, self.overwrite)
        if not 0 < self.tolerance < np.inf:
            raise OptionError(f"the tolerance must be above 0, found {self.tolerance}")
        if not 13 <= self.opset <= 21:
            raise OptionError(f"opsets 13 to 21 can be asked for, found {self.opset}")

    @classmethod
    def of(cls, output: str | Path, words: ExportOptions) -> Target:
        """As the keyword arguments of an export say."""
        return cls(Path(output), **words)

    def preprocessing(self) -> tuple[Preprocess | None, str]:
        """The specification that was asked for, read; and a line that says so, or what to do.

        Raises:
            PreprocessError: it cannot be read.
        """
        if self.preprocess is None:
            return None, ("none was given, so auditing would only scale pixels; give --preprocess")
        if isinstance(self.preprocess, Preprocess):
            return self.preprocess, "as given"
        return read_preprocess(self.preprocess), f"as given, {self.preprocess}"


def check_output(output: Path, overwrite: bool) -> None:
    """Whether a model may be written there; said before the work, not after it.

    Raises:
        OptionError: it may not.
    """
    if output.suffix != ".onnx":
        raise OptionError(f"{output}: an ONNX file is written; end its name in .onnx")
    if not output.absolute().parent.is_dir():
        raise OptionError(f"{output}: its folder does not exist; make it")
    if not os.access(output.absolute().parent, os.W_OK):
        raise OptionError(f"{output}: its folder cannot be written to; choose another")
    if output.is_dir() or (output.exists() and not overwrite):
        raise OptionError(f"{output}: is there already; give --overwrite or another name")


def size_of_images(
    given: tuple[int, int, int] | None, spec: Preprocess | None
) -> tuple[int, int, int]:
    """Channels, height and width, as given or as the specification says.

    Raises:
        OptionError: neither says.
    """
    size = given or (spec.input_size if spec else None)
    if size is None:
        raise OptionError("nothing says how large images are: give --input-size C,H,W")
    return size

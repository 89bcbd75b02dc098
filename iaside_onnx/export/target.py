"""The output file of an export, and the options that all exports share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np

from iaside_onnx.errors import OptionError
from iaside_onnx.images import ImagesLike, Preprocess, read_preprocess
from iaside_onnx.outputs import check_output_file
from iaside_onnx.progress import LogProgress, Progress

__all__ = ["ExportOptions", "Target", "check_output", "size_of_images"]

OPSET = 18
# Keys of the metadata of the files that `finish` and `quantize` write.
_MARKS = (b"iaside.export", b"iaside.quantize")


class ExportOptions(TypedDict, total=False):
    """Options that all exports share; see `Target`."""

    preprocess: str | Path | Preprocess | None
    images: ImagesLike | None
    tolerance: float
    opset: int
    overwrite: bool
    progress: Progress


@dataclass(frozen=True, slots=True)
class Target:
    """The output file of an export, and the options that all exports share.

    Attributes:
        output: the ONNX file to write.
        preprocess: a specification, or a file with one, as in `iaside_onnx.Options`.
        images: images that the framework and ONNX Runtime are compared on; by default bundled
            images mixed with noise, which have all frequencies and colours.
        tolerance: largest difference of an output that is no error, above 0.
        opset: version of the ONNX operator set to ask for, 13 to 21.
        overwrite: replace a file that an earlier export or `quantize` has written.
        progress: is told what is done; by default the logger ``iaside_onnx``.

    Raises:
        OptionError: a value cannot work, or the output exists.
    """

    output: Path
    preprocess: str | Path | Preprocess | None = None
    images: ImagesLike | None = None
    tolerance: float = 1e-3
    opset: int = OPSET
    overwrite: bool = False
    progress: Progress = field(default_factory=LogProgress)

    def __post_init__(self) -> None:
        check_output(self.output, self.overwrite)
        if not 0 < self.tolerance < np.inf:
            raise OptionError(f"the tolerance must be above 0, found {self.tolerance}")
        if not 13 <= self.opset <= 21:
            raise OptionError(f"opsets 13 to 21 can be asked for, found {self.opset}")

    @classmethod
    def of(cls, output: str | Path, options: ExportOptions) -> Target:
        """Make a target from the keyword arguments of an export."""
        return cls(Path(output), **options)

    def preprocessing(self) -> tuple[Preprocess | None, str]:
        """Read the specification that was asked for, if any.

        Returns:
            The specification, or None; and a note for the user.

        Raises:
            PreprocessError: it cannot be read.
        """
        if self.preprocess is None:
            return None, "none was given, so auditing would only scale pixels; give --preprocess"
        if isinstance(self.preprocess, Preprocess):
            return self.preprocess, "as given"
        return read_preprocess(self.preprocess), f"as given, {self.preprocess}"


def check_output(output: Path, overwrite: bool) -> None:
    """Check that a model can be written there, before the work starts.

    Raises:
        OptionError: it cannot.
    """
    if output.suffix != ".onnx":
        raise OptionError(f"{output}: an ONNX file is written; end its name in .onnx")
    check_output_file(output, _MARKS, overwrite=overwrite)


def size_of_images(
    given: tuple[int, int, int] | None, spec: Preprocess | None
) -> tuple[int, int, int]:
    """Channels, height and width, as given; by default, as in the specification.

    Raises:
        OptionError: neither has them.
    """
    size = given or (spec.input_size if spec else None)
    if size is None:
        raise OptionError("the size of the images is not known: give --input-size C,H,W")
    return size

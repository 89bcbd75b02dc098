"""Whether an archive is what it says, and whether the model still says so of the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from iaside_onnx.analysis import Verification, check_archive
from iaside_onnx.errors import OptionError
from iaside_onnx.images import ClassesLike
from iaside_onnx.model import PreprocessLike
from iaside_onnx.progress import Progress, listener
from iaside_onnx.runs.archived import Moved
from iaside_onnx.runs.keywords import named_options
from iaside_onnx.runs.options import Labels
from iaside_onnx.runs.reevaluation import evaluate_again

__all__ = ["verify"]

_SAMPLE = 64


@named_options()
def verify(
    path: str | Path,
    *,
    model: str | Path | None = None,
    images: str | Path | NDArray[Any] | None = None,
    labels: Labels | None = None,
    classes: ClassesLike | None = None,
    preprocess: PreprocessLike | None = None,
    sample: int | None = None,
    timeout: float = 600.0,
    progress: Progress | bool | None = True,
) -> Verification:
    """Check the schema, checksums and digest of an archive, and its arithmetic.

    Contributions are computed again from the worths, and distribution, score and intervals from
    the contributions. The file is read in a process of its own first, as a damaged one can crash
    HDF5 or keep it busy for ever. With a model, images or a sample, their hashes are compared as
    well, and some worths evaluated again; what is not given is taken from where it was.

    Args:
        path: the archive.
        model: the ONNX file that it is about.
        images: the images that it is about.
        labels: the labels, if they are not where they were, or were an array.
        classes: the class indices, likewise.
        preprocess: the specification, likewise.
        sample: number of worths to evaluate again, chosen at random; 64 unless said.
        timeout: seconds that reading the archive may take.
        progress: as in `iaside_onnx.decompose`.

    Raises:
        ArchiveError: if the file is no archive that can be read at all.
        IasideError: if model or images cannot be had.
        OptionError: if the timeout or the sample is not above 0.
    """
    if sample is not None and sample < 1:
        raise OptionError(f"the sample must be of 1 worth at least, found {sample}")
    moved: Moved = {"labels": labels, "classes": classes, "preprocess": preprocess}
    found = check_archive(path, timeout)
    asked = [model, images, sample, *moved.values()]
    if found.problems or all(value is None for value in asked):
        return found
    problems, looked = evaluate_again(
        found.archive, model, images, sample or _SAMPLE, moved, listener(progress)
    )
    return Verification(found.archive, problems, [*found.checked, *looked])

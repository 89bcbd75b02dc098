"""The models of a page: each archive with the letter, the name and the place that the page uses."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Archive, refuse_changed
from iaside_onnx.errors import ArchiveError, OptionError

if TYPE_CHECKING:
    from iaside_onnx.images import ClassesLike

__all__ = ["Subject", "make_subjects"]


@dataclass(frozen=True, slots=True)
class Subject:
    """One archive on a page.

    Attributes:
        color: its place on the page, from 0, which gives its colour.
        letter: stands for it where there is no room for the name: A, B, ...
        name: of the model; with the baseline or the file where models have the same name.
        model: name of the model alone.
        archive: what is known of it.
        classes: the name of each class that has one.
        warning: why its numbers cannot be trusted, in a sentence; empty if nothing is wrong.
    """

    color: int
    letter: str
    name: str
    model: str
    archive: Archive
    classes: dict[int, str]
    warning: str

    @property
    def bands(self) -> int:
        """Number of bands."""
        return self.archive.bands

    @property
    def baseline(self) -> str:
        """What stood in for absent bands."""
        return self.archive.recipe.baseline

    @property
    def labelled(self) -> bool:
        """Whether labels were given, rather than the model's own answers taken."""
        return self.archive.recipe.labels == "given"

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.archive["image"].size)

    @property
    def computable(self) -> bool:
        """Whether differences can be computed."""
        from iaside_onnx.analysis.games import computable

        return computable(self.archive)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the model gets each whole image right, ``(images,)``."""
        answers: NDArray[np.bool_] = self.archive["predicted"] == self.archive["label"]
        return answers


def make_subjects(archives: Sequence[Archive], classes: ClassesLike | None = None) -> list[Subject]:
    """Name the archives of a page.

    Args:
        archives: the archives.
        classes: names of the classes, as `by_class` takes them.

    Raises:
        ImageError: if the names of the classes cannot be read.
        ArchiveError: if one was edited so that it has no images, or other bands than its options.
        OptionError: if there are none, or one is given twice, or they have different bands.
    """
    # Imported here, as `iaside show` needs this room and no SciPy.
    from iaside_onnx.analysis import class_names

    if not archives:
        raise OptionError("a report needs at least one archive")
    _check_once(archives)
    for archive in archives:
        _check_sizes(archive)
        _check_bands(archives[0], archive)
    stems = [PurePath(archive.metadata.model_name).stem for archive in archives]
    with_baseline = [
        f"{stem} ({archive.recipe.baseline})" for stem, archive in zip(stems, archives, strict=True)
    ]
    with_file = [
        f"{stem} ({archive.path.name})" for stem, archive in zip(stems, archives, strict=True)
    ]
    names = next(
        (names for names in (stems, with_baseline) if max(Counter(names).values()) == 1), with_file
    )
    return [
        Subject(
            i, _letter(i), name, stem, archive, class_names(archive, classes), _warning(archive)
        )
        for i, (name, stem, archive) in enumerate(zip(names, stems, archives, strict=True))
    ]


def _check_once(archives: Sequence[Archive]) -> None:
    counts = Counter(archive.path.resolve() for archive in archives)
    for archive in archives:
        if counts[archive.path.resolve()] > 1:
            raise OptionError(f"{archive.path}: is given more than once; give each archive once")


def _check_sizes(archive: Archive) -> None:
    if not 1 <= archive.bands == archive.recipe.bands or not archive["image"].size:
        raise ArchiveError(
            f"{archive.path}: holds {archive['image'].size} images of {archive.bands} bands, which "
            "is not what its options say; the archive is damaged or was edited: restore the file"
        )


def _check_bands(first: Archive, other: Archive) -> None:
    names = ("bands", "partition", "spacing")
    differing = first.recipe.differing(other.recipe, names)
    if differing:
        shown = [
            f"{name} ({getattr(first.recipe, name)} and {getattr(other.recipe, name)})"
            for name in differing
        ]
        raise OptionError(
            f"{first.path} and {other.path} differ in {', '.join(shown)}, so no chart can show "
            "both; write a page for each"
        )


def _letter(i: int) -> str:
    """A to Z, then A2 and so on."""
    again, place = divmod(i, len(string.ascii_uppercase))
    return string.ascii_uppercase[place] + (str(again + 1) if again else "")


def _warning(archive: Archive) -> str:
    try:
        refuse_changed(archive.path, "trusted")
    except ArchiveError as error:
        return str(error)
    return ""

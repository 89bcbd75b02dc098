"""Checkpoints in order: what changed from one to the next, since the first, and the trend."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.analysis.comparison import (
    Comparison,
    Group,
    Pair,
    compare_pair,
)
from iaside_onnx.analysis.frames import series_dataframe
from iaside_onnx.analysis.games import by_baseline, open_compared
from iaside_onnx.analysis.matching import match_images
from iaside_onnx.analysis.statistics import Interval, mean_interval
from iaside_onnx.archive import Archive, open_archive
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.game import LEVEL
from iaside_onnx.progress import escaped

if TYPE_CHECKING:
    import pandas

__all__ = ["Series", "Trend", "archives_in", "series", "worse"]

_SUFFIXES = (".h5", ".hdf5", ".nc")


@dataclass(frozen=True, slots=True)
class Trend:
    """Change per step, by least squares over all checkpoints.

    The slope of each image is a linear contrast of its values in all archives. Its mean over images
    has Student's t interval, in which each image is a unit. That is conservative for samples of
    coalitions, as errors of the images of a balanced block are negatively correlated.

    Attributes:
        images: number of images that are in all archives.
        accuracy: change of accuracy per step; None where labels are the models' own answers.
        log_probability: change of the mean log-probability of the label per step, in nats.
        phi: change of each band's mean contribution per step, in nats; those of all bands hold
            together (Bonferroni).
    """

    images: int
    accuracy: Interval | None
    log_probability: Interval
    phi: tuple[Interval, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Archives of checkpoints, in order.

    Attributes:
        comparison: each but the first, compared with the first.
        steps: each but the first, compared with the one before. The intervals of all pairs, of
            these and of those with the first, hold together (Bonferroni).
        trend: change per step.
    """

    comparison: Comparison
    steps: tuple[Pair, ...]
    trend: Trend

    def __repr__(self) -> str:
        drop = self.first_drop
        where = "no certain drop" if drop is None else f"first drop at {drop.archive.path}"
        first = self.comparison.reference.path
        return escaped(f"<Series from {first}: {len(self.steps) + 1} archives, {where}>")

    def to_dataframe(self) -> pandas.DataFrame:
        """The differences as a table of pandas, a row for each pair.

        Rows are those of ``to_dataframe("pairs")`` of a `Comparison`, with ``against`` in front:
        ``previous`` for the steps, then ``first``.

        Raises:
            ExtraMissingError: if pandas is not installed.
        """
        return series_dataframe(self)

    @property
    def first_drop(self) -> Pair | None:
        """The first checkpoint that is certainly worse than the one before."""
        return next((pair for pair in self.steps if worse(pair)), None)

    @property
    def first_below(self) -> Pair | None:
        """The first checkpoint that is certainly worse than the first."""
        return next((pair for pair in self.comparison.pairs if worse(pair)), None)


def worse(pair: Pair) -> tuple[str, ...]:
    """In what an archive is certainly worse than its reference: names of attributes of the pair."""
    found = []
    if pair.accuracy is not None and pair.accuracy.difference.sign < 0:
        found.append("accuracy")
    if pair.log_probability.sign < 0:
        found.append("log_probability")
    return tuple(found)


def series(archives: Sequence[Archive | str | Path]) -> Series:
    """Compare archives of checkpoints, in order, with the first and each with the one before.

    Args:
        archives: at least two, of the same images and the same game.

    Raises:
        OptionError: if there are fewer, ``archives`` is one path, or they differ in game, baseline
            or labels, or share no image.
        ArchiveError: if one cannot be read, or was edited.
    """
    if isinstance(archives, Archive | str | Path):
        # A text is a sequence too, of its characters.
        raise OptionError(
            "a series takes a list of archives in order, such as ['epoch-1.h5', 'epoch-2.h5'], "
            f"found one: {archives!r}"
        )
    opened = [open_compared(one) for one in archives]
    if len(opened) < 2:
        raise OptionError(f"a series takes at least two archives, found {len(opened)}")
    if len(by_baseline(opened)) > 1:
        baselines = sorted({one.recipe.baseline for one in opened})
        raise OptionError(
            f"a series is of one baseline, and these archives have {' and '.join(baselines)}; give "
            "those of one of them"
        )
    # The first step is the first comparison with the first.
    comparisons = 2 * len(opened) - 3
    pairs = tuple(compare_pair(opened[0], other, comparisons) for other in opened[1:])
    later = (compare_pair(*both, comparisons) for both in pairwise(opened[1:]))
    comparison = Comparison((Group(opened[0].recipe.baseline, opened[0], pairs),))
    return Series(comparison, (pairs[0], *later), _trend(opened))


def archives_in(folder: Path) -> tuple[list[Path], list[str]]:
    """The archives in a folder in the natural order of their names: epoch-2 before epoch-10.

    Returns:
        What is named like an archive, and the names of all else.

    Raises:
        ArchiveError: if the folder cannot be read, or a file that is named like an archive is none:
            a checkpoint that is left out would pass all gates.
    """
    try:
        found = sorted(folder.iterdir(), key=lambda path: _natural(path.name))
    except OSError as error:
        raise ArchiveError(f"{folder}: cannot be read: {error.strerror}") from error
    archives = [p for p in found if p.suffix.lower() in _SUFFIXES and not p.is_dir()]
    for path in archives:
        open_archive(path)
    return archives, [path.name for path in found if path not in archives]


def _natural(name: str) -> list[str | int]:
    """A key for sorting: texts and numbers in turn; the name itself decides between equal ones."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)] + [name]


def _trend(archives: Sequence[Archive]) -> Trend:
    """The trend over the images in all archives.

    Raises:
        OptionError: if there are none.
    """
    rows = _common_rows(archives)
    steps = np.arange(len(archives)) - (len(archives) - 1) / 2
    weights = steps / (steps @ steps)
    first = archives[0]
    right, whole = np.zeros(rows[0].size), np.zeros(rows[0].size)
    phi = np.zeros((rows[0].size, first.bands))
    for archive, own, weight in zip(archives, rows, weights.tolist(), strict=True):
        right += weight * (archive["predicted"][own] == archive["label"][own])
        whole += weight * archive["log_probability_whole"][own].astype(np.float64)
        phi += weight * archive["phi_image"][own]
    level = 1 - (1 - LEVEL) / first.bands
    return Trend(
        images=rows[0].size,
        accuracy=None if first.recipe.labels == "predicted" else mean_interval(right),
        log_probability=mean_interval(whole),
        phi=tuple(mean_interval(band, level) for band in phi.T),
    )


def _common_rows(archives: Sequence[Archive]) -> list[NDArray[np.int64]]:
    """Rows of the images that all archives have, in each of them, in the same order."""
    rows = [np.arange(archives[0]["image"].size)]
    for archive in archives[1:]:
        found = match_images(archives[0], archive)
        other = np.full(archives[0]["image"].size, -1)
        other[found.first] = found.second
        rows.append(other)
    common = np.all([own >= 0 for own in rows], axis=0)
    if not common.any():
        raise OptionError(
            "no image is in all archives of the series, so that there is no trend; give archives "
            "of the same images"
        )
    return [own[common] for own in rows]

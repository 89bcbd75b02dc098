"""Differences between archives of the same images, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from iaside_onnx.analysis.estimates import design_of, mean_gains, population_of
from iaside_onnx.analysis.frames import comparison_dataframe
from iaside_onnx.analysis.games import by_baseline, open_compared
from iaside_onnx.analysis.matching import Matches, match_images
from iaside_onnx.analysis.statistics import (
    Interval,
    mcnemar,
    mean_interval,
    paired_difference,
    proportion_interval,
)
from iaside_onnx.archive import Archive, view, words_for
from iaside_onnx.errors import OptionError
from iaside_onnx.game import LEVEL, Differences, differences, joint_moments
from iaside_onnx.progress import escaped
from iaside_onnx.types import Phi

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["Accuracy", "Comparison", "Group", "Pair", "compare", "compare_pair"]

# What may differ, and is said: beside the model itself.
_SAID = (
    "preprocess", "method", "seed", "output", "output_kind", "batch_rule", "mean_color",
    "runtime", "runtime_version", "provider", "device", "tool_version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy of two models on the same whole images.

    Attributes:
        reference: accuracy of the reference, in [0, 1].
        other: accuracy of the other, in [0, 1].
        difference: other minus reference, with Tango's score interval.
        gained: images that only the other gets right.
        lost: images that only the reference gets right.
        p_value: exact McNemar test that as many are gained as lost; not corrected.
    """

    reference: float
    other: float
    difference: Interval
    gained: int
    lost: int
    p_value: float


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """An archive compared with a reference, over the images that both have.

    Differences are the archive's value minus that of the reference.

    Attributes:
        reference: the archive that it is compared with.
        archive: the archive.
        images: number of images in both.
        only_reference: names of the images that only the reference has.
        only_archive: names of the images that only the archive has.
        accuracy: None where labels are the models' own answers.
        agreement: share of images with the same answer, in [0, 1].
        log_probability: difference of the mean log-probability of the label, whole images, in nats.
        log_probability_error: mean over images of the absolute difference, in nats.
        game: differences of phi, psi and SIS.
        differing: in what else the two differ, in words; empty if in nothing.
        level: confidence level that all comparisons have together.
        comparisons: number of pairs over which intervals are corrected (Bonferroni).
    """

    reference: Archive
    archive: Archive
    images: int
    only_reference: tuple[str, ...]
    only_archive: tuple[str, ...]
    accuracy: Accuracy | None
    agreement: Interval
    log_probability: Interval
    log_probability_error: Interval
    game: Differences
    differing: str
    level: float
    comparisons: int

    def __repr__(self) -> str:
        found = self.accuracy
        accuracy = "" if found is None else f", accuracy {found.difference.value:+.3f}"
        return escaped(
            f"<Pair {self.archive.path} minus {self.reference.path}: {self.images:,} images, "
            f"SIS {self.game.sis:+.3f}{accuracy}>"
        )

    @property
    def sis(self) -> Interval:
        """Difference of the scores."""
        return Interval(self.game.sis, self.game.sis_low, self.game.sis_high)

    def bands(self, kind: Literal["phi", "psi"]) -> list[Interval]:
        """Difference of each band: of phi, in nats, or of psi."""
        ends = (getattr(self.game, f"{kind}{end}").tolist() for end in ("", "_low", "_high"))
        return [Interval(*end) for end in zip(*ends, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Comparisons of archives with one baseline.

    Attributes:
        baseline: what stands in for absent bands.
        reference: the archive that the others are compared with.
        pairs: one for each of the others.
    """

    baseline: str
    reference: Archive
    pairs: tuple[Pair, ...]

    def __repr__(self) -> str:
        return escaped(
            f"<Group with {self.reference.path}: {_counted(self.pairs)}, baseline {self.baseline}>"
        )

    @property
    def archives(self) -> tuple[Archive, ...]:
        """The reference, then the others."""
        return (self.reference, *(pair.archive for pair in self.pairs))

    @property
    def ranking(self) -> tuple[Archive, ...]:
        """All archives, the highest score first."""
        return tuple(sorted(self.archives, key=lambda archive: -float(archive["sis"])))


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Archives compared with a reference; several groups where there are several baselines.

    Attributes:
        groups: one for each baseline; that of the reference is first.
    """

    groups: tuple[Group, ...]

    def __repr__(self) -> str:
        baselines = " and ".join(group.baseline for group in self.groups)
        return escaped(
            f"<Comparison with {self.reference.path}: {_counted(self.pairs)}, baseline {baselines}>"
        )

    @property
    def words(self) -> list[str]:
        """What is certain, and what is not, in sentences; the answer is first."""
        return list(view("comparison_words")(self))

    @property
    def reference(self) -> Archive:
        """The archive that those of its baseline are compared with."""
        return self.groups[0].reference

    @property
    def archives(self) -> tuple[Archive, ...]:
        """All archives, of all baselines."""
        return tuple(archive for group in self.groups for archive in group.archives)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs, of all baselines."""
        return tuple(pair for group in self.groups for pair in group.pairs)

    def to_dataframe(self, table: Literal["bands", "pairs"] = "bands") -> pandas.DataFrame:
        """The differences as a table of pandas.

        Args:
            table: ``bands``, a row for each pair and band with phi and psi; or ``pairs``, a row for
                each pair with SIS, log-probability, accuracy and agreement.

        Raises:
            OptionError: if there is no such table.
            ExtraMissingError: if pandas is not installed.
        """
        return comparison_dataframe(self, table)

    def plot(self, kind: Literal["phi", "psi"] = "phi", ax: Axes | None = None) -> Axes:
        """Bars of the differences over the bands, with intervals; pairs side by side.

        Args:
            kind: ``phi``, in nats, or ``psi``.
            ax: the axes to draw into; by default those of a new figure.

        Returns:
            The axes.

        Raises:
            OptionError: if the kind is unknown.
            ExtraMissingError: if Matplotlib is not installed.
        """
        found: Axes = view("plot_differences")(self, kind, ax)
        return found

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return str(view("comparison_html")(self))


def _counted(pairs: Sequence[Pair]) -> str:
    return f"{len(pairs)} archive{'s' * (len(pairs) != 1)}"


def compare(reference: Archive | str | Path, *archives: Archive | str | Path) -> Comparison:
    """Compare archives of the same images and the same game with a reference.

    Images are matched by SHA-256, and all differences are of pairs of images. Intervals of 95 %
    hold together over all bands and all archives (Bonferroni). Archives of the same models with
    several baselines are compared within each baseline.

    Args:
        reference: the archive to compare with.
        *archives: at least one other.

    Raises:
        OptionError: if there is no other, or they differ in game or labels, or share no image.
        ArchiveError: if one cannot be read, or was edited.
    """
    opened = [open_compared(one) for one in (reference, *archives)]
    if len(opened) == 1:
        raise OptionError("comparing takes at least two archives: a reference, and others")
    groups = by_baseline(opened)
    comparisons = sum(len(group) - 1 for group in groups)
    if not comparisons:
        baselines = ", ".join(one.recipe.baseline for one in opened)
        raise OptionError(
            f"no two of these archives have one baseline ({baselines}), so that there is nothing "
            "to compare; give two models or more with each baseline"
        )
    return Comparison(
        tuple(
            Group(
                group[0].recipe.baseline,
                group[0],
                tuple(compare_pair(group[0], other, comparisons) for other in group[1:]),
            )
            for group in groups
        )
    )


def compare_pair(
    reference: Archive, archive: Archive, comparisons: int = 1, level: float = LEVEL
) -> Pair:
    """Compare two archives of one game.

    Args:
        reference: the archive to compare with.
        archive: the other.
        comparisons: number of comparisons that shall hold together.
        level: confidence level that they have together.

    Raises:
        OptionError: if they share no image, or differ in labels.
    """
    found = match_images(reference, archive)
    one = 1 - (1 - level) / comparisons
    ours, theirs = (
        {name: each[name][rows] for name in ("label", "predicted", "log_probability_whole")}
        for each, rows in ((reference, found.first), (archive, found.second))
    )
    same = int((ours["predicted"] == theirs["predicted"]).sum())
    n = found.first.size
    change = theirs["log_probability_whole"].astype(float) - ours["log_probability_whole"]
    own_answers = reference.recipe.labels == "predicted"
    return Pair(
        reference=reference,
        archive=archive,
        images=n,
        only_reference=tuple(reference["image_id"][found.only_first].tolist()),
        only_archive=tuple(archive["image_id"][found.only_second].tolist()),
        accuracy=None if own_answers else _accuracy(ours, theirs, one),
        agreement=proportion_interval(same, n, one),
        log_probability=mean_interval(change, one),
        log_probability_error=mean_interval(np.abs(change), one),
        game=_differences(reference, archive, found, comparisons, level),
        differing=words_for(archive.recipe.differing(reference.recipe, _SAID)),
        level=level,
        comparisons=comparisons,
    )


def _accuracy(ours: dict[str, Phi], theirs: dict[str, Phi], level: float) -> Accuracy:
    right, other = (each["predicted"] == each["label"] for each in (ours, theirs))
    gained, lost = int((other & ~right).sum()), int((right & ~other).sum())
    return Accuracy(
        float(right.mean()),
        float(other.mean()),
        paired_difference(gained, lost, right.size, level),
        gained,
        lost,
        mcnemar(gained, lost),
    )


def _differences(
    reference: Archive, archive: Archive, found: Matches, comparisons: int, level: float
) -> Differences:
    """Differences of phi, psi and SIS over the images in both archives."""
    both = ((reference, found.first), (archive, found.second))
    population = _population(reference, archive)
    gains = tuple(
        (one["phi_image"][None] if population is None else mean_gains(one))[:, rows]
        for one, rows in both
    )
    blocks = tuple(one.draws[rows] // design_of(one).block for one, rows in both)
    strata = None
    if population is not None and "stratum" in reference.names:
        strata = reference["stratum"][found.first]
    moments = joint_moments((gains[0], gains[1]), (blocks[0], blocks[1]), strata, population)
    return differences(moments, comparisons, level)


def _population(reference: Archive, archive: Archive) -> int | None:
    """Number of images that differences are about, if both archives are about a finite set."""
    sizes = {population_of(one) for one in (reference, archive)}
    return sizes.pop() if len(sizes) == 1 else None

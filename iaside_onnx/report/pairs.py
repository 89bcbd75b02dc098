"""The archives of a page against each other: which can be ranked, and their differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from iaside_onnx.analysis import Comparison, Pair, compare, compare_pair
from iaside_onnx.analysis.games import GAME
from iaside_onnx.analysis.matching import match_images
from iaside_onnx.archive import words_for
from iaside_onnx.errors import IasideError, OptionError
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.text import shortened

__all__ = ["Pairs"]

_LONGEST = 600


class Pairs:
    """Differences of the archives of a page; each is computed once, as many bands take long.

    All intervals have one correction, that of the comparison: as many differences as there are
    archives beside the reference of each baseline. It covers the best against all others as well.

    Attributes:
        comparison: each archive minus the first of its baseline; None where there is none.
        apart: two archives that cannot be ranked and in what they differ, as words that follow
            their names; None if all can.
        refused: why archives of one baseline have no comparison; empty if they have.
    """

    def __init__(self, subjects: Sequence[Subject]) -> None:
        """Compare the archives of a page with the first of their baseline."""
        self.comparison: Comparison | None = None
        self.refused = ""
        unlike = ((s, _unlike(subjects[0], s)) for s in subjects[1:])
        self.apart = next(((subjects[0], s, reason) for s, reason in unlike if reason), None)
        self._found: dict[tuple[int, int], Pair | None] = {}
        sizes = Counter(subject.baseline for subject in subjects)
        self._comparisons = max(len(subjects) - len(sizes), 1)
        if max(sizes.values()) == 1:
            return
        if not all(subject.computable for subject in subjects):
            self.refused = "an archive holds numbers that no model gives"
            return
        try:
            self.comparison = compare(*(subject.archive for subject in subjects))
        except IasideError as error:
            self.refused = shortened(str(error), _LONGEST)
            return
        # The page has no archive twice, so a path stands for one place.
        places = {subject.archive.path: subject.color for subject in subjects}
        for pair in self.comparison.pairs:
            self._found[places[pair.reference.path], places[pair.archive.path]] = pair

    def accuracy(self, one: Subject, other: Subject) -> int | None:
        """1 or -1 where one is certainly more or less accurate; None where all answers agree.

        Of two with different baselines as well: accuracy is about whole images.
        """
        pair, sign = self._pair(one, other)
        if pair is None or pair.accuracy is None:
            return 0
        if pair.accuracy.gained == pair.accuracy.lost == 0:
            return None
        return sign * pair.accuracy.difference.sign

    def score(self, one: Subject, other: Subject) -> int:
        """1 or -1 where the score of one is certainly higher or lower, else 0."""
        pair, sign = self._pair(one, other)
        if pair is None:
            return 0
        return sign * pair.sis.sign

    def same_score(self, one: Subject, other: Subject) -> bool:
        """Whether two have one score, for certain."""
        pair, _ = self._pair(one, other)
        return pair is not None and pair.game.sis_low == pair.game.sis_high == 0

    def _pair(self, one: Subject, other: Subject) -> tuple[Pair | None, int]:
        """The pair in the order in which it is known, and 1 if that is one minus other, else -1."""
        if (other.color, one.color) in self._found:
            return self._found[other.color, one.color], 1
        key = (one.color, other.color)
        if key not in self._found:
            self._found[key] = self._computed(one, other)
        return self._found[key], -1

    def _computed(self, one: Subject, other: Subject) -> Pair | None:
        if not (one.computable and other.computable):
            return None
        try:
            return compare_pair(one.archive, other.archive, self._comparisons)
        except OptionError:
            return None


def _unlike(first: Subject, other: Subject) -> str:
    """In what two archives differ, so that neither can be ranked above the other; empty if not.

    The baseline is left out: accuracy does not depend on it, and scores are ranked within each.
    """
    names = [name for name in GAME if name != "baseline"]
    differing = first.archive.recipe.differing(other.archive.recipe, names)
    if differing:
        return f"differ in {words_for(differing)}"
    try:
        found = match_images(first.archive, other.archive)
    except OptionError:
        shared = set(first.archive["image_sha256"]) & set(other.archive["image_sha256"])
        return "have other labels for the same images" if shared else "have no image in common"
    if found.only_first.size or found.only_second.size:
        return (
            f"are about other images ({first.images:,} and {other.images:,}, of which "
            f"{found.first.size:,} are the same)"
        )
    return ""

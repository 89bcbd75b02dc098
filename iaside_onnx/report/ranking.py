"""Several models in words: which is more accurate, which leans on low bands, what is open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from iaside_onnx.analysis import Pair, compare_pair
from iaside_onnx.analysis.comparison import GAME
from iaside_onnx.errors import OptionError
from iaside_onnx.report.findings import (
    accuracy,
    hurting,
    score_text,
    undecided,
)
from iaside_onnx.report.marking import bdi, listed
from iaside_onnx.report.meaning import more_images
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.text import joined, percent, with_minus
from iaside_onnx.report.words import bands_text

__all__ = ["dependence", "leaning", "most_accurate", "open_questions"]


def most_accurate(subjects: Sequence[Subject]) -> Markup:
    """Which model is the most accurate."""
    known = _models(subjects)
    if not known:
        return Markup("Which is more accurate is not known, as labels are the models' own answers.")
    if len(known) == 1:
        return Markup("All archives are of one model; {} are right.").format(
            percent(float(known[0].right.mean()))
        )
    shares = [float(subject.right.mean()) for subject in known]
    same = [s for s, share in zip(known, shares, strict=True) if share == max(shares)]
    if len(same) > 1:
        return Markup("{} are equally accurate ({}).").format(
            listed(_short(s, known) for s in same), percent(max(shares))
        )
    return Markup("{} is the most accurate ({}).").format(
        bdi(_short(same[0], known)), percent(max(shares))
    )


def _models(subjects: Sequence[Subject]) -> list[Subject]:
    """One archive a model, of those with labels: accuracy has nothing to do with the baseline."""
    found: dict[str, Subject] = {}
    for subject in subjects:
        if subject.labelled:
            found.setdefault(subject.archive.metadata.model_sha256, subject)
    return list(found.values())


def _short(subject: Subject, among: Sequence[Subject]) -> str:
    """The name of the model alone, where only one has it."""
    alone = [other for other in among if other.model == subject.model] == [subject]
    return subject.model if alone else subject.name


def open_questions(subjects: Sequence[Subject]) -> list[Markup]:
    """Which bands hurt, and what is not certain."""
    return [_hurt(subjects), *_not_certain(subjects), *_sure(subjects)]


def _groups(subjects: Sequence[Subject]) -> list[list[Subject]]:
    """Models with the same baseline that have a score, the highest first."""
    groups = []
    for baseline in dict.fromkeys(subject.baseline for subject in subjects):
        group = [
            s for s in subjects
            if s.baseline == baseline and math.isfinite(float(s.archive["sis"]))
        ]  # fmt: skip
        if len(group) > 1:
            groups.append(sorted(group, key=lambda s: -float(s.archive["sis"])))
    return groups


def leaning(subjects: Sequence[Subject]) -> list[Markup]:
    """Which leans on lower bands, for each baseline."""
    several = len({subject.baseline for subject in subjects}) > 1
    return [
        Markup("{}{} leans most on the low bands (SIS {}), {} least ({}).").format(
            f"With the baseline {group[0].baseline}, " if several else "",
            bdi(group[0].name), score_text(group[0]), bdi(group[-1].name), score_text(group[-1]),
        )
        for group in _groups(subjects)
    ]  # fmt: skip


def _not_certain(subjects: Sequence[Subject]) -> list[Markup]:
    """What is open, by differences of pairs of images where two models saw the same."""
    sentences = []
    known = _models(subjects)
    if len(known) > 1:
        best = max(known, key=lambda s: float(s.right.mean()))
        others = [s for s in known if s is not best]
        close = [s for s in others if not _surely_more_accurate(best, s, len(others))]
        if close:
            sentences.append(
                Markup("Not certain: {} may be as accurate as {}.").format(
                    listed(_short(s, known) for s in close), bdi(_short(best, known))
                )
            )
    for group in _groups(subjects):
        pairs = [
            Markup("{} and {}").format(bdi(above.name), bdi(below.name))
            for above, below in pairwise(group)
            if not _surely_higher(above, below, len(group) - 1)
        ]
        if pairs:
            sentences.append(
                Markup("Not certain: the order by SIS of {}.").format(Markup("; ").join(pairs))
            )
    return sentences


def _surely_more_accurate(one: Subject, other: Subject, comparisons: int) -> bool:
    pair = _pair(one, other, comparisons)
    if pair is None or pair.accuracy is None:
        return accuracy(one).low > accuracy(other).high
    return pair.accuracy.difference.sign < 0


def _surely_higher(one: Subject, other: Subject, comparisons: int) -> bool:
    """Whether the score of one is certainly above that of another."""
    pair = _pair(one, other, comparisons)
    if pair is None:
        return float(one.archive["sis_low"]) > float(other.archive["sis_high"])
    return pair.game.sis_high < 0


def _pair(one: Subject, other: Subject, comparisons: int) -> Pair | None:
    """Differences of two models; None where they saw no image in common, or differ in game."""
    if one.archive.recipe.differing(other.archive.recipe, GAME):
        return None
    if not (one.computable and other.computable):
        return None
    try:
        return compare_pair(one.archive, other.archive, comparisons)
    except OptionError:
        return None


def dependence(subjects: Sequence[Subject]) -> Markup:
    """What the ranking by SIS depends on."""
    baselines = list(dict.fromkeys(subject.baseline for subject in subjects))
    orders = {
        tuple(subject.archive.metadata.model_sha256 for subject in group)
        for group in _groups(subjects)
    }
    if len(orders) > 1 and len({frozenset(order) for order in orders}) == 1:
        return Markup(
            "The ranking by SIS depends on the baseline: it is another with {} than with {}. "
            "SIS alone does not say which model is better."
        ).format(baselines[0], joined(baselines[1:]))
    return Markup(
        "The ranking by SIS depends on the baseline, here {}; another baseline can give another "
        "ranking."
    ).format(joined(baselines))


def _hurt(subjects: Sequence[Subject]) -> Markup:
    clean = [s for s in subjects if not hurting(s) and not undecided(s)]
    hurt = [s for s in subjects if hurting(s)]
    parts = [
        Markup("in {} {} hurt").format(bdi(subject.name), bands_text(hurting(subject)))
        for subject in hurt
    ]
    if clean:
        parts.append(Markup("in {} no band hurts").format(listed(s.name for s in clean)))
    if not parts:
        return Markup("In none of them a band hurts for certain.")
    text = Markup("; ").join(parts)
    return Markup("{}{}.").format(text[:1].upper(), text[1:])


def _sure(subjects: Sequence[Subject]) -> list[Markup]:
    """Where intervals are wide, and how many images would make them narrow."""
    if any(subject.images == 1 for subject in subjects):
        return [
            Markup("One image has no intervals: nothing about it is certain. Take more images.")
        ]
    return [
        Markup("{}: {}.").format(bdi(subject.name), with_minus(wide))
        for subject in subjects
        if (wide := more_images(subject.archive))
    ]

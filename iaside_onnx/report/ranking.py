"""Several models in words: which is more accurate, which leans on low bands, what is open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from iaside_onnx.game import score_weights
from iaside_onnx.report.findings import hurting, score_text, undecided
from iaside_onnx.report.marking import bdi, listed
from iaside_onnx.report.meaning import SIS_MEANING, more_images
from iaside_onnx.report.pairs import Pairs
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.text import joined, percent, with_minus
from iaside_onnx.report.words import bands_text

__all__ = ["open_questions", "ranking"]

# More names than these make no sentence.
_MOST_NAMES = 4


def ranking(subjects: Sequence[Subject], pairs: Pairs) -> list[Markup]:
    """The answer: the most accurate, and which lean on low bands; or why there is no ranking."""
    apart = _apart(pairs)
    return [apart] if apart else [_most_accurate(subjects, pairs), *_leaning(subjects, pairs)]


def open_questions(subjects: Sequence[Subject], pairs: Pairs) -> list[Markup]:
    """Which bands hurt, what is not certain, and what the ranking depends on."""
    apart = pairs.apart
    return [
        _hurt(subjects),
        *([] if apart else _open_order(subjects, pairs)),
        *_sure(subjects),
        *([] if apart else _dependence(subjects)),
        Markup("{}.").format(SIS_MEANING[0]),
    ]


def _apart(pairs: Pairs) -> Markup | None:
    """Why these archives cannot be ranked; None if they can."""
    if pairs.apart is None:
        return None
    first, other, reason = pairs.apart
    return Markup(
        "These archives cannot be ranked, by accuracy or by SIS: {} and {} {}. Each row of the "
        "table stands for itself."
    ).format(bdi(first.name), bdi(other.name), reason)


def _most_accurate(subjects: Sequence[Subject], pairs: Pairs) -> Markup:
    """Which model is the most accurate, or which of them may be."""
    known = _models(subjects)
    if not known:
        return Markup("Which is more accurate is not known, as labels are the models' own answers.")
    if len(known) == 1:
        return Markup("All archives are of one model; {} are right.").format(_right(known[0]))
    best, *others = sorted(known, key=lambda subject: -float(subject.right.mean()))
    signs = {other.color: pairs.accuracy(best, other) for other in others}
    close = [other for other in others if signs[other.color] != 1]
    if not close:
        return Markup("{} is the most accurate ({}).").format(
            bdi(_short(best, known)), _right(best)
        )
    if all(signs[other.color] is None for other in close):
        return Markup("{} get the same images right ({}{}).").format(
            listed(_short(subject, known) for subject in (best, *close)),
            _right(best),
            "" if len(close) == len(others) else ", more than any other",
        )
    if len(close) >= _MOST_NAMES:
        return Markup(
            "Which is the most accurate is not certain: {} with {}, or one of {} others."
        ).format(bdi(_short(best, known)), _right(best), len(close))
    named = [
        Markup("{} {}").format(bdi(_short(subject, known)), _right(subject))
        for subject in (best, *close)
    ]
    return Markup("Which is {} is not certain: {} or {}.").format(
        "more accurate" if len(known) == 2 else "the most accurate",
        Markup(", ").join(named[:-1]),
        named[-1],
    )


def _right(subject: Subject) -> str:
    return percent(float(subject.right.mean()))


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


def _leaning(subjects: Sequence[Subject], pairs: Pairs) -> list[Markup]:
    """Which leans on lower bands, for each baseline."""
    several = len({subject.baseline for subject in subjects}) > 1
    groups = _groups(subjects)
    if not groups:
        return [Markup("No two archives have a SIS with the same baseline, so none is ranked.")]
    return [
        Markup("{}{}").format(
            f"With the baseline {group[0].baseline}: " if several else "", _ends(group, pairs)
        )
        for group in groups
    ]


def _ends(group: Sequence[Subject], pairs: Pairs) -> Markup:
    """The model with the highest score and that with the lowest, as far as these are certain."""
    most, least = group[0], group[-1]
    if all(pairs.same_score(most, other) for other in group[1:]):
        return Markup("All have the same SIS ({}).").format(score_text(most))
    top = all(pairs.score(most, other) > 0 for other in group[1:])
    bottom = all(pairs.score(least, other) < 0 for other in group[:-1])
    high, low = bdi(most.name), bdi(least.name)
    of_high, of_low = score_text(most), score_text(least)
    # The score says how far psi is from uniform, not in which direction.
    leaning = all(map(_low, group))
    if top and bottom:
        both = (
            Markup("{} leans most on the low bands (SIS {}), {} least ({}).")
            if leaning
            else Markup("{} has the highest SIS ({}), {} the lowest ({}).")
        )
        return both.format(high, of_high, low, of_low)
    if top:
        one = (
            Markup("{} leans most on the low bands (SIS {}); which leans least is not certain.")
            if leaning
            else Markup("{} has the highest SIS ({}); which has the lowest is not certain.")
        )
        return one.format(high, of_high)
    if bottom:
        one = (
            Markup("{} leans least on the low bands (SIS {}); which leans most is not certain.")
            if leaning
            else Markup("{} has the lowest SIS ({}); which has the highest is not certain.")
        )
        return one.format(low, of_low)
    if len(group) == 2:
        text = Markup("Which has the higher SIS is not certain: {} ({}) or {} ({}).")
    else:
        text = Markup(
            "Which has the highest SIS, and which the lowest, is not certain: {} ({}) to {} ({})."
        )
    return text.format(high, of_high, low, of_low)


def _low(subject: Subject) -> bool:
    """Whether the score is that of a model that leans on the low bands, rather than on the high."""
    psi = subject.archive["psi"]
    unit, eta = score_weights(psi.size)
    return bool(unit @ psi >= eta)


def _open_order(subjects: Sequence[Subject], pairs: Pairs) -> list[Markup]:
    """Neighbours in the order by score that may be the other way round; of two, it was said."""
    sentences = []
    for group in _groups(subjects):
        close = [
            Markup("{} and {}").format(bdi(above.name), bdi(below.name))
            for above, below in pairwise(group)
            if pairs.score(above, below) <= 0
        ]
        if close and len(group) > 2:
            sentences.append(
                Markup("Not certain: the order by SIS of {}.").format(Markup("; ").join(close))
            )
    return sentences


def _dependence(subjects: Sequence[Subject]) -> list[Markup]:
    """What the ranking by SIS depends on."""
    if not _groups(subjects):
        return []
    baselines = list(dict.fromkeys(subject.baseline for subject in subjects))
    orders = {
        tuple(subject.archive.metadata.model_sha256 for subject in group)
        for group in _groups(subjects)
    }
    if len(orders) > 1 and len({frozenset(order) for order in orders}) == 1:
        text = Markup(
            "The ranking by SIS depends on the baseline: it is another with {} than with {}. "
            "SIS alone does not say which model is better."
        )
        return [text.format(baselines[0], joined(baselines[1:]))]
    text = Markup(
        "The ranking by SIS depends on the baseline, here {}; another baseline can give another "
        "ranking."
    )
    return [text.format(joined(baselines))]


def _hurt(subjects: Sequence[Subject]) -> Markup:
    clean = [s for s in subjects if not hurting(s) and not undecided(s)]
    hurt = [s for s in subjects if hurting(s)]
    parts = [
        Markup("in {} {} hurt{}").format(
            bdi(subject.name), bands_text(bands), "s" * (len(bands) == 1)
        )
        for subject in hurt
        for bands in [hurting(subject)]
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

"""What the archives of a page say in words: the answer, and what is not certain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from iaside_onnx.analysis.statistics import Interval, proportion_interval
from iaside_onnx.report.marking import bdi, listed
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.text import joined, number, percent, range_text, ranges

__all__ = ["accuracy_text", "answer", "carrying", "cautions", "hurting", "undecided"]

# Bands that together hold so much of all that helps are those that carry a model.
_MOST = 0.8
# A score that is known to so much at each side is known well enough to compare models.
_NARROW = 0.01


def carrying(subject: Subject) -> list[int]:
    """The fewest bands that certainly help and hold most of what all such bands give."""
    archive = subject.archive
    phi = archive["phi"]
    helping = [b for b in range(subject.bands) if archive["phi_low"][b] > 0]
    helping.sort(key=lambda band: -phi[band])
    total, held, chosen = sum(float(phi[b]) for b in helping), 0.0, []
    for band in helping:
        chosen.append(band)
        held += float(phi[band])
        if held >= _MOST * total:
            break
    return sorted(chosen)


def hurting(subject: Subject) -> list[int]:
    """Bands whose contribution is certainly negative."""
    return [b for b in range(subject.bands) if subject.archive["phi_high"][b] < 0]


def undecided(subject: Subject) -> list[int]:
    """Bands whose interval holds zero, or that have none."""
    low, high = subject.archive["phi_low"], subject.archive["phi_high"]
    return [b for b in range(subject.bands) if not (low[b] > 0 or high[b] < 0)]


def accuracy_text(subject: Subject) -> str:
    """Accuracy on whole images with its exact interval."""
    if not subject.labelled:
        return "labels are its own answers"
    found = _accuracy(subject)
    return f"{percent(found.value)} [{number(100 * found.low, 1)}, {number(100 * found.high, 1)}]"


def _accuracy(subject: Subject) -> Interval:
    return proportion_interval(int(subject.right.sum()), subject.images)


def answer(subjects: Sequence[Subject]) -> list[Markup]:
    """The answer in two sentences, or one more for each further baseline."""
    if len(subjects) == 1:
        return [_right(subjects[0]), _bands_of(subjects[0])]
    return [_most_accurate(subjects), *_leaning(subjects)]


def cautions(subjects: Sequence[Subject]) -> list[Markup]:
    """How sure the answer is, and what it depends on."""
    baselines = joined(sorted({subject.baseline for subject in subjects}))
    if len(subjects) == 1:
        return [
            _sure(subjects[0]),
            Markup(
                "SIS depends on the baseline, here {}: compare it only with models that were "
                "decomposed with the same baseline, labels and images."
            ).format(baselines),
        ]
    return [
        _hurt(subjects),
        *_not_certain(subjects),
        _sure_of_all(subjects),
        Markup(
            "The ranking by SIS depends on the baseline, here {}; another baseline can give "
            "another ranking."
        ).format(baselines),
    ]


def _right(subject: Subject) -> Markup:
    n = f"{subject.images:,} image{'s' * (subject.images != 1)}"
    if not subject.labelled:
        return Markup(
            "This is about the answers that {} gives to {}, not about whether they are right."
        ).format(bdi(subject.name), n)
    found = _accuracy(subject)
    return Markup("{} gives the right class to {} of {} (95 % interval {} to {}).").format(
        bdi(subject.name), percent(found.value), n, number(100 * found.low, 1), percent(found.high)
    )


def _bands_of(subject: Subject) -> Markup:
    archive = subject.archive
    phi, bands, hurt = archive["phi"], carrying(subject), hurting(subject)
    if archive.metadata.uniform:
        return Markup("All bands contribute the same, so it leans on none of them.")
    if not bands:
        return Markup("No band helps it for certain{}.").format(
            f", and {ranges(hurt)} hurt{'s' * (len(hurt) == 1)}" if hurt else ""
        )
    what = "of log-probability of the right class" if subject.labelled else "of log-probability"
    text = (
        f"{ranges(bands).capitalize()} (radius {_radius(subject, bands)}) "
        f"carr{'ies' if len(bands) == 1 else 'y'} it, with {number(float(phi[bands].sum()), 2)} "
        f"nats {what}"
    )
    if hurt:
        taken = number(-float(phi[hurt].sum()), 2)
        text += (
            f"; {ranges(hurt)} hurt{'s' * (len(hurt) == 1)}, and take{'s' * (len(hurt) == 1)} "
            f"{taken} nats away"
        )
    elif not undecided(subject):
        text += "; no band hurts"
    return Markup("{}.").format(text)


def _radius(subject: Subject, bands: list[int]) -> str:
    archive = subject.archive
    return f"{archive['band_low'][bands[0]]:.3g} to {archive['band_high'][bands[-1]]:.3g}"


def _sure(subject: Subject) -> Markup:
    archive, open_bands = subject.archive, undecided(subject)
    if subject.images == 1:
        return Markup("One image has no intervals: nothing here is certain. Take more images.")
    signs = (
        "Each band's sign is beyond its 95 % interval"
        if not open_bands
        else f"Whether {ranges(open_bands)} help{'s' * (len(open_bands) == 1)} or hurt"
        f"{'s' * (len(open_bands) == 1)} is open"
    )
    return Markup("{}. SIS is {} {}{}.").format(
        signs, number(float(archive["sis"])),
        range_text(float(archive["sis_low"]), float(archive["sis_high"])), _more(subject),
    )  # fmt: skip


def _more(subject: Subject) -> str:
    """How many images would make the interval of the score narrow, if it is wide."""
    reach = _reach(subject)
    if not math.isfinite(reach) or reach <= _NARROW:
        return ""
    needed = subject.images * (reach / _NARROW) ** 2
    if not needed < 1e9:
        return "; the interval is wide, take more images"
    return f"; for \N{PLUS-MINUS SIGN}{_NARROW:g} take about {_rounded(needed):,} images"


def _reach(subject: Subject) -> float:
    low, high = float(subject.archive["sis_low"]), float(subject.archive["sis_high"])
    return (high - low) / 2


def _rounded(count: float) -> int:
    """Up to two digits, upwards."""
    unit = 10.0 ** max(math.floor(math.log10(count)) - 1, 0)
    return round(math.ceil(count / unit) * unit)


def _most_accurate(subjects: Sequence[Subject]) -> Markup:
    known = [subject for subject in subjects if subject.labelled]
    if len(known) < 2:
        return Markup("Which is more accurate is not known, as labels are the models' own answers.")
    shares = [float(subject.right.mean()) for subject in known]
    same = [s for s, share in zip(known, shares, strict=True) if share == max(shares)]
    if len(same) > 1:
        return Markup("{} are equally accurate ({}).").format(
            listed(s.name for s in same), percent(max(shares))
        )
    return Markup("{} is the most accurate ({}).").format(bdi(same[0].name), percent(max(shares)))


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


def _leaning(subjects: Sequence[Subject]) -> list[Markup]:
    """Which leans on lower bands, for each baseline."""
    several = len({subject.baseline for subject in subjects}) > 1
    return [
        Markup("{}{} leans most on the low bands (SIS {}), {} least ({}).").format(
            f"With the baseline {group[0].baseline}, " if several else "",
            bdi(group[0].name), _score(group[0]), bdi(group[-1].name), _score(group[-1]),
        )
        for group in _groups(subjects)
    ]  # fmt: skip


def _not_certain(subjects: Sequence[Subject]) -> list[Markup]:
    """What the intervals leave open."""
    sentences = []
    known = [subject for subject in subjects if subject.labelled]
    if len(known) > 1:
        best = max(known, key=lambda s: float(s.right.mean()))
        low = _accuracy(best).low
        close = [s for s in known if s is not best and _accuracy(s).high >= low]
        if close:
            sentences.append(
                Markup("Not certain: {} may be as accurate, as the intervals overlap.").format(
                    listed(s.name for s in close)
                )
            )
    for group in _groups(subjects):
        pairs = [
            Markup("{} and {}").format(bdi(above.name), bdi(below.name))
            for above, below in pairwise(group)
            if not float(above.archive["sis_low"]) > float(below.archive["sis_high"])
        ]
        if pairs:
            sentences.append(
                Markup("Not certain: the order by SIS of {}, as the intervals overlap.").format(
                    Markup("; ").join(pairs)
                )
            )
    return sentences


def _score(subject: Subject) -> str:
    archive = subject.archive
    return (
        f"{number(float(archive['sis']))} "
        f"{range_text(float(archive['sis_low']), float(archive['sis_high']))}"
    )


def _hurt(subjects: Sequence[Subject]) -> Markup:
    clean = [s for s in subjects if not hurting(s) and not undecided(s)]
    hurt = [s for s in subjects if hurting(s)]
    parts = [
        Markup("in {} {} hurt").format(bdi(subject.name), ranges(hurting(subject)))
        for subject in hurt
    ]
    if clean:
        parts.append(Markup("in {} no band hurts").format(listed(s.name for s in clean)))
    if not parts:
        return Markup("In none of them a band hurts for certain.")
    text = Markup("; ").join(parts)
    return Markup("{}{}.").format(text[:1].upper(), text[1:])


def _sure_of_all(subjects: Sequence[Subject]) -> Markup:
    wide = max(subjects, key=lambda s: _reach(s) if math.isfinite(_reach(s)) else -1.0)
    text = _more(wide)
    if any(subject.images == 1 for subject in subjects):
        return Markup("One image has no intervals: nothing about it is certain. Take more images.")
    if not text:
        return Markup("All intervals of SIS are \N{PLUS-MINUS SIGN}{} or narrower.").format(_NARROW)
    return Markup("The widest interval of SIS is that of {} ({}){}.").format(
        bdi(wide.name), _score(wide), text
    )

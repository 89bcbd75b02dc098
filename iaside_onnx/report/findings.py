"""What an archive shows: bands that carry a model and that hurt it, accuracy, how sure it is."""

from __future__ import annotations

from iaside_onnx.analysis.statistics import Interval, proportion_interval
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.text import number, range_text

__all__ = ["accuracy", "carrying", "hurting", "score_text", "undecided"]

# Bands that together hold so much of all that helps are those that carry a model.
_MOST = 0.8


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


def accuracy(subject: Subject) -> Interval:
    """Accuracy on whole images with its exact interval."""
    return proportion_interval(int(subject.right.sum()), subject.images)


def score_text(subject: Subject) -> str:
    """SIS with its interval."""
    value, low, high = (float(subject.archive[f"sis{end}"]) for end in ("", "_low", "_high"))
    return f"{number(value)} {range_text(low, high)}"

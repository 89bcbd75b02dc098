"""What the numbers mean, and what they do not say: one wording for the terminal and for pages."""

from __future__ import annotations

import numpy as np

from iaside_onnx.archive import Archive

__all__ = ["SIS_MEANING", "WIDE_PHI", "WIDE_SIS", "more_images"]

SIS_MEANING = (
    "SIS is a share of attention; compare it for the same bands, baseline, labels and images only",
    "SIS predicts robustness unreliably: rank correlation with damage 0.26 over 18 models, 0.76 "
    "over 12 others",
)
"""What the spectral importance score is, and what it is not: sentences without full stops."""

WIDE_SIS = 0.05
"""Half width from which the interval of SIS is wide: scores 0.1 apart cannot be told apart."""

WIDE_PHI = 0.25
"""Half width from which an interval of phi is wide, as a share of the largest contribution."""

# Only an edited archive has intervals so wide.
_ABSURD = 1e6


def more_images(archive: Archive) -> str | None:
    """About how many images would make a wide interval narrow; None where none is wide.

    Half widths shrink with the square root of the number of images: n images with a half width h
    need about ``n (h / t)^2`` for a half width t. Where intervals are about the N images of the
    source, variances have the factor ``1 - n / N`` (Cochran, Sampling Techniques, 1977, section
    2.6), and no more than N are needed. Where several bands may be the smallest, the interval of
    SIS covers all of these cases and shrinks in steps, so the number is a rough guide.

    Returns:
        A sentence without a full stop: of SIS where `WIDE_SIS` says that its interval is wide, else
        of the band with the widest interval of phi, by `WIDE_PHI`.
    """
    half = float(archive["sis_high"] - archive["sis_low"]) / 2
    what, target, unit = "SIS", WIDE_SIS, ""
    # In an edited archive any number may be infinite or NaN.
    if not half > target:
        with np.errstate(invalid="ignore", over="ignore"):
            halves = np.nan_to_num((archive["phi_high"] - archive["phi_low"]) / 2)
            target = WIDE_PHI * float(np.abs(archive["phi"]).max())
        band = int(halves.argmax())
        half, what, unit = float(halves[band]), f"phi of band {band}", " nats"
    if not 0 < target < half < _ABSURD * target:
        return None
    known = f"{what} is known to {half:.2g}{unit} either way"
    images = _images_for(archive, half / target)
    if images is None:
        return f"{known}: more evaluations of the same images (`iaside extend`) would narrow it"
    return f"{known}: about {images:,} images would make that {target:.2g}{unit}"


def _images_for(archive: Archive, factor: float) -> int | None:
    """Number of images for intervals narrower by a factor, rounded to two digits.

    None where all images that the intervals are about are in the archive.
    """
    n, population = archive["image"].size, archive.recipe.population
    if population is None:
        return _rounded(n * factor**2)
    if population <= n:
        return None
    return min(_rounded(1 / (factor**-2 * (1 / n - 1 / population) + 1 / population)), population)


def _rounded(number: float) -> int:
    """A positive number, rounded to two significant digits."""
    return int(float(f"{number:.2g}"))

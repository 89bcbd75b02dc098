"""A comparison of archives in sentences: what is certain, and what is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.analysis import Comparison, Group, Interval, Pair
from iaside_onnx.archive import Archive

__all__ = ["bands_text", "comparison_words", "pair_words", "ranking_words", "short_names", "signed"]


def signed(interval: Interval, digits: int = 3) -> str:
    """A difference with its interval, such as ``-0.098 [-0.124, -0.075]``."""
    value, low, high = (f"{x:+.{digits}f}" for x in (interval.value, interval.low, interval.high))
    return value + (f" [{low}, {high}]" if np.isfinite(interval.low) else " [undefined]")


def bands_text(bands: Iterable[int]) -> str:
    """Bands in words, with runs of three or more as ranges, such as ``bands 0, 3 to 7``."""
    runs: list[list[int]] = []
    for band in bands:
        if runs and band == runs[-1][-1] + 1:
            runs[-1].append(band)
        else:
            runs.append([band])
    found = [band for run in runs for band in run]
    texts = [
        text
        for run in runs
        for text in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run))
    ]
    listed = ", ".join(texts[:-1]) + f" and {texts[-1]}" if len(texts) > 1 else texts[0]
    return f"band{'s' * (len(found) > 1)} {listed}"


def short_names(archives: Sequence[Archive]) -> dict[Path, str]:
    """The shortest distinct name of each archive, by its path: of its file, and of folders."""
    parts = {
        archive.path: archive.path.resolve().with_suffix("").parts[::-1] for archive in archives
    }
    names = {}
    for path, own in parts.items():
        others = [other for key, other in parts.items() if key != path]
        length = next(
            (k for k in range(1, len(own)) if all(other[:k] != own[:k] for other in others)), 1
        )
        names[path] = "/".join(own[:length][::-1])
    return names


def comparison_words(comparison: Comparison) -> list[str]:
    """Sentences about a comparison, without full stops; the answer is first.

    Returns:
        For each pair what `pair_words` says; then what the ranking by score depends on.
    """
    names = short_names(comparison.archives)
    found = [
        sentence
        for group in comparison.groups
        for pair in group.pairs
        for sentence in pair_words(pair, names)
    ]
    return [*found, *ranking_words(comparison.groups, names)]


def pair_words(pair: Pair, names: Mapping[Path, str]) -> list[str]:
    """Sentences about a pair: accuracy, the bands that it leans on, those that hurt, the score.

    Args:
        pair: the pair.
        names: what archives are called, by their path.
    """
    reference, name = names[pair.reference.path], names[pair.archive.path]
    return [
        _accuracy_words(pair, name, reference),
        _leaning_words(pair, name, reference),
        *_turned_words(pair, name, reference),
    ]


def _accuracy_words(pair: Pair, name: str, reference: str) -> str:
    images = f"the same {pair.images:,} image{'s' * (pair.images != 1)}"
    found = pair.accuracy
    if found is None:
        return (
            f"{name} and {reference} give {pair.agreement.value:.1%} of {images} the same answer; "
            "which is more accurate is unknown, as labels are the models' own answers"
        )
    values = f"{found.other:.3f} against {found.reference:.3f} on {images}"
    difference = f"difference {signed(found.difference)}"
    if found.difference.sign:
        word = "more" if found.difference.sign > 0 else "less"
        return f"{name} is {word} accurate than {reference}: {values}, {difference}"
    if found.gained == found.lost == 0:
        return f"{name} and {reference} get the same images right: {values}"
    return f"whether {name} or {reference} is more accurate is not certain: {values}, {difference}"


def _certain(
    low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where an interval is above 0, and where it is below."""
    return np.flatnonzero(low > 0), np.flatnonzero(high < 0)


def _leaning_words(pair: Pair, name: str, reference: str) -> str:
    game, score = pair.game, pair.sis
    certain = "" if score.sign else ", which is not certain"
    same = score.low == score.high == 0
    ending = "SIS is the same" if same else f"SIS {signed(score)}{certain}"
    more, less = _certain(game.psi_low, game.psi_high)
    if not more.size and not less.size:
        return f"no band's share psi differs with certainty; {ending}"
    parts = [
        f"{word} on {bands_text(bands.tolist())}"
        for word, bands in (("more", more), ("less", less))
        if bands.size
    ]
    return f"{name} leans {' and '.join(parts)} than {reference}; {ending}"


def _turned_words(pair: Pair, name: str, reference: str) -> list[str]:
    """Bands that certainly hurt one of the two, and help the other."""
    signs = [
        np.sign(archive["phi_low"]) * (np.sign(archive["phi_low"]) == np.sign(archive["phi_high"]))
        for archive in (pair.reference, pair.archive)
    ]
    found = []
    for hurt, helped, sides in ((reference, name, signs), (name, reference, signs[::-1])):
        bands = np.flatnonzero((sides[0] < 0) & (sides[1] > 0))
        if bands.size:
            verb = "hurt" if bands.size > 1 else "hurts"
            found.append(f"{bands_text(bands.tolist())} {verb} {hurt}, but not {helped}")
    return found


def ranking_words(groups: Sequence[Group], names: Mapping[Path, str]) -> list[str]:
    """What the ranking by score is, and that it depends on the baseline."""
    listed = [
        f"ranked by SIS, baseline {group.baseline}{_own_images(group)}: "
        + ", ".join(f"{names[one.path]} {float(one['sis']):.3f}" for one in group.ranking)
        for group in groups
    ]
    if len(groups) == 1:
        other = "mean" if groups[0].baseline == "zero" else "zero"
        return [
            *listed,
            f"this ranking is for the baseline {groups[0].baseline} alone, and another can turn it "
            f"round; decompose with `baseline={other!r}` as well, and compare all of them",
        ]
    orders = {tuple(archive.metadata.model_sha256 for archive in group.ranking) for group in groups}
    verdict = (
        "the ranking is the same with each baseline"
        if len(orders) == 1
        else "the ranking depends on the baseline: SIS alone does not say which of them is better"
    )
    return [*listed, verdict]


def _own_images(group: Group) -> str:
    """Said where archives are not about the same images."""
    apart = any(pair.only_reference or pair.only_archive for pair in group.pairs)
    return ", each over its own images" if apart else ""

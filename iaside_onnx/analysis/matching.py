"""Which images of two archives are the same, by their hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Archive
from iaside_onnx.errors import OptionError

__all__ = ["Matches", "match_images"]


@dataclass(frozen=True, slots=True)
class Matches:
    """Rows of images in two archives.

    Attributes:
        first: rows of the first archive, ``(n,)``, ascending.
        second: rows of the same images in the second archive, ``(n,)``.
        only_first: rows of the images that the second archive does not have.
        only_second: rows of the images that the first archive does not have.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    only_first: NDArray[np.int64]
    only_second: NDArray[np.int64]


def match_images(first: Archive, second: Archive) -> Matches:
    """Match images by SHA-256; if an image occurs k times, its k-th occurrences are matched.

    Raises:
        OptionError: if no image is in both, or an image has two labels.
    """
    rows = {key: row for row, key in enumerate(_keys(second))}
    here, there, alone = [], [], []
    for row, key in enumerate(_keys(first)):
        other = rows.pop(key, None)
        if other is None:
            alone.append(row)
        else:
            here.append(row)
            there.append(other)
    if not here:
        raise OptionError(
            f"{first.path} and {second.path} have no image in common, by SHA-256: compare archives "
            "of the same files or arrays"
        )
    wanted = (here, there, alone, sorted(rows.values()))
    found = Matches(*(np.array(one, dtype=np.int64) for one in wanted))
    _check_labels(first, second, found)
    return found


def _keys(archive: Archive) -> Iterator[tuple[str, int]]:
    """The hash of each image, and how often it occurred before."""
    seen: Counter[str] = Counter()
    for text in archive["image_sha256"].tolist():
        yield text, seen[text]
        seen[text] += 1


def _check_labels(first: Archive, second: Archive, found: Matches) -> None:
    """Check that worths are about the same classes.

    Raises:
        OptionError: if they are not.
    """
    ours, theirs = first["label"][found.first], second["label"][found.second]
    wrong = np.flatnonzero(ours != theirs)
    if wrong.size:
        row = wrong[0]
        name = first["image_id"][found.first[row]]
        advice = (
            "decompose both with the answers of one of them as `labels=FILE`"
            if second.recipe.labels == "predicted"
            else "decompose both with the same `labels=FILE`"
        )
        raise OptionError(
            f"{second.path}: differs in labels from {first.path}: {wrong.size} of {ours.size} "
            f"images, the first is {name} (label {ours[row]} there, {theirs[row]} now); {advice}"
        )

"""Which archives can be compared: those of one game, whole, with numbers that a model gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from iaside_onnx.archive import Archive, Recipe, as_archive, refuse_changed
from iaside_onnx.errors import ArchiveError, OptionError

__all__ = ["GAME", "by_baseline", "computable", "open_compared"]

GAME = ("bands", "partition", "spacing", "baseline", "pixel_range", "labels")
"""Fields of a recipe that make two games different.

The mean colour is none of them, as it follows from the images and their preparation.
"""

# No contribution comes near it, and its square is a number.
_HUGE = 1e12


def open_compared(archive: Archive | str | Path) -> Archive:
    """Open an archive that decisions will be made on.

    Raises:
        ArchiveError: if it cannot be read, was edited, or holds numbers that no model gives.
    """
    found = as_archive(archive)
    # A decision on what was edited would look like one on what was measured.
    refuse_changed(found.path, "compared")
    if not computable(found):
        raise ArchiveError(
            f"{found.path}: cannot be compared: it holds numbers that no model gives; it was "
            "edited: restore the file"
        )
    return found


def computable(archive: Archive) -> bool:
    """Whether there are differences: an edited archive may hold NaN, or what overflows."""
    names = ("phi_image", "log_probability_whole", "phi")
    finite = all(bool((np.abs(archive[name]) < _HUGE).all()) for name in names)
    return finite and 0 <= float(archive["sis"]) <= 1


def by_baseline(archives: Sequence[Archive]) -> list[list[Archive]]:
    """Archives by baseline, each group with its reference first.

    Raises:
        OptionError: if games differ in more than the baseline, or groups are not the same models.
    """
    first = archives[0]
    groups: dict[str, list[Archive]] = {}
    for archive in archives:
        groups.setdefault(archive.recipe.baseline, []).append(archive)
    models = [sorted(one.metadata.model_sha256 for one in group) for group in groups.values()]
    same = all(found == models[0] for found in models)
    names = [name for name in GAME if name != "baseline" or not same]
    for archive in archives[1:]:
        differing = archive.recipe.differing(first.recipe, names)
        if differing == ["baseline"] and len(archives) > len(groups):
            raise OptionError(_missing(groups))
        if differing:
            ignored = {field.name for field in fields(Recipe)} - set(differing)
            raise OptionError(
                f"{archive.path}: another game than {first.path}: "
                f"{archive.recipe.differences(first.recipe, ignored)}; compare archives of one game"
            )
    for group in groups.values():
        shas = [one.metadata.model_sha256 for one in group]
        # The reference's own group has it first already; others keep their order.
        group.insert(0, group.pop(shas.index(first.metadata.model_sha256)))
    return list(groups.values())


def _missing(groups: Mapping[str, Sequence[Archive]]) -> str:
    """Which model lacks an archive with a baseline that others have."""
    shas = {name: [one.metadata.model_sha256 for one in group] for name, group in groups.items()}
    lacking = next(
        f"the model of {one.path} has fewer archives with the baseline {other} than with {name}"
        for name, group in groups.items()
        for one in group
        for other in groups
        if shas[other].count(one.metadata.model_sha256)
        < shas[name].count(one.metadata.model_sha256)
    )
    return f"{lacking}; give every model with every baseline, or archives of one baseline"

"""Contributions and estimates, worked out from the worths of an archive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iaside_onnx.archive import Archive
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.game import LEVEL, Design, Estimate, make_design
from iaside_onnx.types import Phi

__all__ = ["design_of", "estimate_archives", "estimate_variables", "mean_gains", "population_of"]


def design_of(archive: Archive) -> Design:
    """The design of the coalitions of an archive.

    Raises:
        ArchiveError: if this version does not know it, or it cannot have so many bands.
    """
    recipe = archive.recipe
    try:
        return make_design(recipe.method, recipe.bands, recipe.seed)
    except OptionError as error:
        raise ArchiveError(f"{archive.path}: cannot be used: {error}") from error


def mean_gains(archive: Archive) -> Phi:
    """Contributions of each image as its design gives them, ``(parts, images, bands)``, in nats.

    The mean over parts is ``phi_image``.
    """
    design, draws, replicates = design_of(archive), archive.draws, archive.replicates
    pieces = []
    for rows in archive.pieces("worth"):
        worth = archive.worth(rows.start, rows.stop)
        own = replicates[rows]
        groups = []
        for count in np.unique(own):
            here = np.flatnonzero(own == count)
            gains = design.gains(worth[here], draws[rows][here], 0, int(count)) / count
            groups.append((here, gains))
        piece = np.empty((len(groups[0][1]), own.size, archive.bands))
        for here, gains in groups:
            piece[:, here] = gains
        pieces.append(piece)
    return np.concatenate(pieces, axis=1)


def population_of(archive: Archive) -> int | None:
    """Number of images of the finite population that intervals are about, None if it is infinite.

    None also where an edited archive names fewer than it holds.
    """
    population = archive.recipe.population
    return None if population is None or population < archive["image"].size else population


def estimate_variables(found: Estimate) -> dict[str, Any]:
    """The variables of an archive that hold an estimate."""
    names = [f"{name}{end}" for name in ("phi", "psi", "sis") for end in ("", "_low", "_high")]
    return {name: getattr(found, name) for name in names}


def estimate_archives(archives: Sequence[Archive], level: float = LEVEL) -> Estimate:
    """Phi, psi and SIS over the images of archives of one model and one game.

    Args:
        archives: at least one.
        level: confidence level of each interval, in (0, 1).
    """
    first = archives[0]
    population = population_of(first)
    # Class shares are known of the images of the source, but not of what they were drawn from.
    strata = first["stratum"] if population is not None and "stratum" in first.names else None
    gains = np.concatenate([mean_gains(archive) for archive in archives], axis=1)
    draws = np.concatenate([archive.draws for archive in archives])
    return design_of(first).estimate(gains, draws, strata, population, level)

"""How often the intervals of `iaside compare` hold the truth, and how often its gates err.

The images of archives are the population. Samples of N images are drawn from it with replacement,
so the truth is known: the difference over all of its images. Pairs of all archives, each archive
with itself, and each with a copy that differs by rounding (as an INT8 model might).

    python -m tools.studies.paired_coverage a.h5 b.h5 c.h5 --samples 1000
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx import Archive, open_archive
from iaside_onnx.analysis.gates import GATE_LEVEL
from iaside_onnx.analysis.statistics import mean_interval, paired_difference
from iaside_onnx.game import LEVEL, differences, joint_moments
from iaside_onnx.game.moments import Moments
from tools.shared.markdown import row

KINDS = ("phi", "psi", "SIS", "accuracy", "log p")
GATED = ("phi", "SIS", "accuracy")
EPS = 1e-9


class Population:
    """What is compared of each image of an archive."""

    def __init__(self, archive: Archive, jitter: float = 0.0) -> None:
        noise = np.random.default_rng(7)
        phi = archive["phi_image"]
        self.name = archive.path.stem + ("'" if jitter else "")
        self.phi = phi * (1 + jitter * noise.standard_normal(phi.shape))
        self.right = archive["predicted"] == archive["label"]
        if jitter:
            self.right = self.right ^ (noise.random(self.right.size) < jitter)
        self.log_p = archive["log_probability_whole"].astype(np.float64)
        self.log_p = self.log_p * (1 + jitter * noise.standard_normal(self.log_p.size))


def truth(a: Population, b: Population) -> dict[str, NDArray[np.float64]]:
    """The differences over the whole population."""
    found = differences(
        Moments(np.concatenate([a.phi.mean(0), b.phi.mean(0)]), np.zeros((16, 16)), 9)
    )
    accuracy = b.right.mean() - a.right.mean()
    values = (found.phi, found.psi, found.sis, accuracy, (b.log_p - a.log_p).mean())
    return dict(zip(KINDS, map(np.atleast_1d, values), strict=True))


Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]


def bounds(
    a: Population, b: Population, rows: NDArray[np.int64], level: float
) -> dict[str, Bounds]:
    """Lower and upper bounds of each kind from a sample."""
    own = np.arange(rows.size)
    moments = joint_moments((a.phi[rows][None], b.phi[rows][None]), (own, own))
    found = differences(moments, level=level)
    gained, lost = (b.right & ~a.right)[rows].sum(), (a.right & ~b.right)[rows].sum()
    accuracy = paired_difference(int(gained), int(lost), rows.size, level)
    log_p = mean_interval((b.log_p - a.log_p)[rows], level)
    pairs: dict[str, tuple[Any, Any]] = {
        "phi": (found.phi_low, found.phi_high),
        "psi": (found.psi_low, found.psi_high),
        "SIS": (found.sis_low, found.sis_high),
        "accuracy": (accuracy.low, accuracy.high),
        "log p": (log_p.low, log_p.high),
    }
    return {kind: (np.atleast_1d(low), np.atleast_1d(high)) for kind, (low, high) in pairs.items()}


def measure(a: Population, b: Population, n: int, samples: int) -> list[float]:
    """Percentages of samples: in which all bounds of a kind hold, and in which a gate errs."""
    true = truth(a, b)
    rng = np.random.default_rng(n)
    inside, wrong = dict.fromkeys(KINDS, 0), dict.fromkeys(GATED, 0)
    for _ in range(samples):
        drawn = rng.integers(a.right.size, size=n)
        for kind, (low, high) in bounds(a, b, drawn, LEVEL).items():
            covered = (low <= true[kind] + EPS) & (true[kind] <= high + EPS)
            inside[kind] += bool(covered.all())
        found = bounds(a, b, drawn, GATE_LEVEL)
        for kind in GATED:
            # A gate whose margin is the truth errs if it says that it holds.
            wrong[kind] += bool((found[kind][0] > true[kind] + EPS).any())
    return [100 * count / samples for count in (*inside.values(), *wrong.values())]


def main() -> None:
    """Print coverage and one-sided errors of all pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archives", nargs="+", type=Path)
    parser.add_argument("--samples", type=int, default=500)
    options = parser.parse_args()
    opened = [open_archive(path) for path in options.archives]
    whole = [Population(archive) for archive in opened]
    pairs = [
        *combinations(whole, 2),
        *((one, one) for one in whole),
        *((one, Population(archive, 0.02)) for one, archive in zip(whole, opened, strict=True)),
    ]
    heads = [*(f"{kind} covered" for kind in KINDS), *(f"{kind} gate errs" for kind in GATED)]
    print(row(["pair", "N", *heads]))
    print(row(["-"] * (2 + len(heads))))
    for a, b in pairs:
        for n in (50, 100, 200, 400):
            cells = [f"{value:.1f}" for value in measure(a, b, n, options.samples)]
            print(row([f"{a.name} {b.name}", str(n), *cells]), flush=True)


if __name__ == "__main__":
    main()

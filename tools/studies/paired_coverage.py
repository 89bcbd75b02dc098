"""How often the intervals of `iaside compare` hold the truth, and how often its gates err.

The images of archives are the population. Samples of N images are drawn from it with replacement,
so the truth is known: the difference over all of its images. Pairs of all archives, each archive
with itself, and each with a copy that differs by rounding (as an INT8 model might).

    python -m tools.studies.paired_coverage a.h5 b.h5 c.h5 --samples 1000
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iaside_onnx import Archive, open_archive
from iaside_onnx.analysis.statistics import mean_interval, paired_difference
from iaside_onnx.game import differences, joint_moments
from iaside_onnx.game.moments import Moments
from tools.shared.markdown import row

KINDS = ("phi", "psi", "SIS", "accuracy", "log p")


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


def bounds(
    a: Population, b: Population, rows: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    """Lower and upper bounds of each kind from a sample."""
    own = np.arange(rows.size)
    found = differences(joint_moments((a.phi[rows][None], b.phi[rows][None]), (own, own)))
    yield "phi", found.phi_low, found.phi_high
    yield "psi", found.psi_low, found.psi_high
    yield "SIS", np.array([found.sis_low]), np.array([found.sis_high])
    gained, lost = (b.right & ~a.right)[rows].sum(), (a.right & ~b.right)[rows].sum()
    accuracy = paired_difference(int(gained), int(lost), rows.size)
    log_p = mean_interval((b.log_p - a.log_p)[rows])
    for name, one in (("accuracy", accuracy), ("log p", log_p)):
        yield name, np.array([one.low]), np.array([one.high])


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
    heads = ["pair", "N", *(f"{kind} {what}" for kind in KINDS for what in ("covered", "err low"))]
    print(row(heads))
    print(row("-" * len(heads)))
    for a, b in pairs:
        true = truth(a, b)
        for n in (50, 100, 200, 400):
            rng = np.random.default_rng(n)
            inside, above = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
            for _ in range(options.samples):
                drawn = rng.integers(a.right.size, size=n)
                for kind, low, high in bounds(a, b, drawn):
                    eps = 1e-9
                    inside[kind] += bool(
                        ((low <= true[kind] + eps) & (true[kind] <= high + eps)).all()
                    )
                    # A gate whose margin is the truth errs if it says that it holds.
                    above[kind] += bool((low > true[kind] + eps).any())
            cells = [
                f"{100 * count[kind] / options.samples:.1f}"
                for kind in KINDS
                for count in (inside, above)
            ]
            print(row([f"{a.name} {b.name}", str(n), *cells]), flush=True)


if __name__ == "__main__":
    main()

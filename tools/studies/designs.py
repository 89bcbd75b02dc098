"""Evaluations that sampling designs save against exact evaluation, and coverage of their intervals.

    python -m tools.studies.designs --tables DIR [--bands 8,12] [--replicates 500]
    python -m tools.studies.designs --table tools/records/designs.json

Designs run on full tables of real models (`tables`), so that the truth is known and a replicate
needs no evaluation. A population is the table repeated many times, with its shares of the classes.
The package's own code draws and estimates.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iaside_onnx import (
    __version__,
    estimate,
    spectral_distribution,
    spectral_importance_score,
)
from iaside_onnx.game import Estimate, PairedDesign, block_moments, draw_order, estimate_moments
from tools.shared import markdown as md
from tools.shared.files import write_json
from tools.shared.paths import RECORDS
from tools.studies.pooled import Pooled
from tools.studies.tables import Table, tables

RECORD = RECORDS / "designs.json"
_POPULATION = 20000
_SEEDS = 1 << 20
_LEAST_BLOCKS = 8


@dataclass(frozen=True)
class Found:
    """One replicate: an estimate and its number of evaluations."""

    estimate: Estimate
    evaluations: int


class Paired:
    """The package's design on a table."""

    def __init__(self, table: Table, pairs: int, *, strata: bool, balanced: bool = True) -> None:
        self._table = table
        self._pairs = pairs
        self._strata = strata
        self._balanced = balanced

    def run(self, seed: int, images: int, population: int | None = None) -> Found:
        """Draw images and estimate; with ``population`` each image is drawn once at most."""
        table, pairs = self._table, self._pairs
        own, strata = _draw(table, seed, images, self._strata, population is not None)
        design = PairedDesign(table.bands, seed)
        # Draws that are far apart share no block: their permutations are independent.
        draws = np.arange(images) * (1 if self._balanced else table.bands * table.bands)
        layout = design.layout
        slots = int(layout.ends[pairs])
        masks = np.array([design.coalitions(int(d), 0, slots) for d in draws]).astype(np.int64)
        worth = table.worth[own[:, None], masks]
        forward, backward = design.gains(worth, draws, 0, pairs)
        found = estimate_moments(
            block_moments(
                forward / pairs, backward / pairs, draws // table.bands, strata, population
            )
        )
        return Found(found, images * (slots - 1))


def _draw(
    table: Table, seed: int, images: int, strata: bool, once: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Draw images of a table as the package does; their rows and classes."""
    n = len(table.worth)
    copies = 1 if once else -(-_POPULATION // n)
    classes = np.tile(table.classes, copies) if strata else None
    order = draw_order(classes, n * copies, seed)[:images]
    own = order % n
    return own, table.classes[own] if strata else None


def exact(table: Table, seed: int, images: int) -> Found:
    """Evaluate every coalition of images that are drawn at random."""
    own, _ = _draw(table, seed, images, False, False)
    return Found(estimate(table.phi[own]), images * (2**table.bands - 1))


def measure(run: Callable[[int], Found], replicates: int, truth: np.ndarray) -> dict[str, object]:
    """Errors and coverage over replicates, against the truth."""
    psi = spectral_distribution(truth)
    sis = spectral_importance_score(psi)
    phis, scores, covered, costs = [], [], [], []
    for seed in range(replicates):
        found = run(_SEEDS + seed)
        est = found.estimate
        phis.append(est.phi)
        scores.append(est.sis)
        costs.append(found.evaluations)
        covered.append(
            [
                ((est.phi_low <= truth) & (truth <= est.phi_high)).mean(),
                ((est.psi_low <= psi + 1e-12) & (psi - 1e-12 <= est.psi_high)).mean(),
                est.sis_low <= sis <= est.sis_high,
            ]
        )
    errors = np.array(phis) - truth
    bias = errors.mean(axis=0) / (errors.std(axis=0, ddof=1) / len(errors) ** 0.5)
    phi_cover, psi_cover, sis_cover = np.mean(covered, axis=0)
    return {
        "evaluations": int(np.mean(costs)),
        "phi_mse": float((errors**2).sum(axis=1).mean()),
        "phi_mse_band": (errors**2).mean(axis=0).tolist(),
        "sis_mse": float(((np.array(scores) - sis) ** 2).mean()),
        "sis_bias": float(np.mean(scores) - sis),
        "largest_bias_in_standard_errors": float(np.abs(bias).max()),
        "phi_coverage": float(phi_cover),
        "psi_coverage": float(psi_cover),
        "sis_coverage": float(sis_cover),
    }


def study(table: Table, given: argparse.Namespace) -> dict[str, object]:
    """All designs on one table, each at about the same number of evaluations."""
    truth = table.phi.mean(axis=0)
    each = 2 * table.bands - 1
    images = given.budget // each
    row: dict[str, object] = {
        "model": table.name,
        "bands": table.bands,
        "table_images": len(table.worth),
        "replicates": given.replicates,
    }
    balanced = Paired(table, 1, strata=False)
    classes = Paired(table, 1, strata=True)
    # Classes of one image each are no strata.
    several = bool(np.bincount(table.classes).max() > 1)
    four = Paired(table, min(4, table.bands - 1), strata=False)
    finite = Paired(table, 1, strata=several)
    scattered = Paired(table, 1, strata=False, balanced=False)
    few = images // max(2 * min(4, table.bands - 1) - 3, 1)
    n = len(table.worth)
    designs: dict[str, Callable[[int], Found]] = {
        # With as many images as the sample; `speed_up` accounts for the evaluations.
        "exact": lambda seed: exact(table, seed, images),
        "pairs": lambda seed: scattered.run(seed, images),
        "balanced pairs": lambda seed: balanced.run(seed, images),
        "four pairs": lambda seed: four.run(seed, max(few, 2 * table.bands)),
    }
    if n // 2 >= _LEAST_BLOCKS * table.bands:
        designs["these images"] = lambda seed: finite.run(seed, min(images, n // 2), n)
    if several:
        designs["balanced pairs, classes"] = lambda seed: classes.run(seed, images)
    if given.pooled is not None and table.bands == given.pooled.bands:
        pooled = Pooled(given.pooled.worth, table.bands)
        designs["pooled"] = lambda seed: Found(
            *pooled.run(
                table.worth,
                lambda count: _draw(table, seed, count, False, False)[0],
                given.budget,
                seed,
            )
        )
    for name, run in designs.items():
        row[name] = measure(run, given.replicates, truth)
    return row


def speed_up(row: dict[str, Any], design: str, what: str) -> float:
    """Cost times mean squared error of exact evaluation over that of a design."""
    base, other = row["exact"], row[design]
    cost = base["evaluations"] * base[what]
    return float(cost / (other["evaluations"] * max(other[what], 1e-300)))


def markdown(record: dict[str, Any]) -> str:
    """The table that the README quotes."""
    lines = [
        "| model | M | speed-up phi / SIS: pairs | balanced | and classes | "
        "coverage phi, psi, SIS: balanced | and classes | these images alone |",
        "|---|---:|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        ups = [
            f"{speed_up(row, name, 'phi_mse'):.1f} / {speed_up(row, name, 'sis_mse'):.1f}"
            if name in row
            else "-"
            for name in ("pairs", "balanced pairs", "balanced pairs, classes")
        ]
        covers = [
            ", ".join(f"{100 * row[name][f'{w}_coverage']:.1f}" for w in ("phi", "psi", "sis"))
            if name in row
            else "-"
            for name in ("balanced pairs", "balanced pairs, classes", "these images")
        ]
        lines.append(md.row([row["model"], str(row["bands"]), *ups, *covers]))
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, metavar="DIR", help="folder of the tables")
    parser.add_argument("--bands", default="8,12", metavar="M,...")
    parser.add_argument("--only", metavar="MODEL,...")
    parser.add_argument("--lite0", type=Path, metavar="FILE.onnx", help="EfficientNet-Lite0")
    parser.add_argument("--images", type=Path, metavar="DIR", help="class folders for --lite0")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="of --images, as for iaside")
    parser.add_argument("--replicates", type=int, default=500, metavar="N")
    parser.add_argument("--budget", type=int, default=3000, metavar="N", help="evaluations")
    parser.add_argument(
        "--pooled",
        metavar="MODEL",
        help="also try pooled least squares, with the covariance of this model",
    )
    parser.add_argument("--output", type=Path, default=RECORD, metavar="FILE")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="print the table of a record and exit"
    )
    given = parser.parse_args()
    given.bands = [int(word) for word in given.bands.split(",")]
    given.only = given.only.split(",") if given.only else None
    if given.table is None and given.tables is None:
        parser.error("give --tables DIR, the folder of the tables")
    return given


def main() -> None:
    """Runs the study, or prints the table of a record."""
    given = _parse()
    if given.table:
        print(markdown(json.loads(given.table.read_text(encoding="utf-8"))))
        return
    if given.pooled:
        only = argparse.Namespace(**{**vars(given), "only": [given.pooled], "bands": [8]})
        (given.pooled,) = tables(only)
    record: dict[str, Any] = {"version": __version__, "budget": given.budget, "rows": []}
    for table in tables(given):
        record["rows"].append(study(table, given))
        write_json(given.output, record)
        print(markdown({"rows": record["rows"][-1:]}).splitlines()[-1], flush=True)
    print(markdown(record))


if __name__ == "__main__":
    main()

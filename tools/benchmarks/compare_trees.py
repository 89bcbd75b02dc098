"""Compares the speed of two checkouts, in interleaved pairs of runs.

    python -m tools.benchmarks.compare_trees BEFORE AFTER [--python-before FILE] [--pairs 7]

Each run is a new process that decomposes bundled images with a bundled model into a temporary
folder. The trees take turns, and the one that begins a pair changes from pair to pair, so that a
change of the machine's speed over time favours neither. Models and images are those of the
checkout that this script is in.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from tools.shared import markdown as md
from tools.shared.files import fail, write_json
from tools.shared.paths import BUNDLED, FASHION_IMAGES, bundled_model

MODELS = ("fashion-cnn", "fashion-vit", "fashion-cnn-keras")
BANDS = 8
CHILD = Path(__file__).with_name("tree_child.py")
RATIOS = ("evaluations_per_second", "process_seconds", "cpu_seconds")
"""Figures of a run that are compared, after over before.

CPU seconds are of all threads of the call; they suffer less from other processes than the others.
"""


@dataclass(frozen=True)
class Tree:
    """A checkout and the interpreter that runs it.

    Attributes:
        name: `before` or `after`.
        root: folder that holds the package `iaside_onnx`.
        python: interpreter that has the packages which the tree needs.
        workers: processes that evaluate.
    """

    name: str
    root: Path
    python: Path
    workers: int = 1

    def run(self, model: str, given: argparse.Namespace) -> dict[str, Any]:
        """Decomposes bundled images once, in a new process.

        Args:
            model: name of a bundled model.
            given: the options of the command line.

        Returns:
            The answer of `tree_child.py`, and `process_seconds` from start to exit.
        """
        with tempfile.TemporaryDirectory() as folder:
            job = {
                "tree": str(self.root),
                "model": str(bundled_model(model)),
                "images": str(FASHION_IMAGES),
                "folder": folder,
                "bands": BANDS,
                "limit": given.limit,
                "batch_size": given.batch_size,
                "threads": given.threads,
                "workers": self.workers,
            }
            command = [str(self.python), "-P", str(CHILD), json.dumps(job)]
            environment = os.environ | {"PYTHONPATH": str(self.root)}
            begun = time.perf_counter()
            done = subprocess.run(
                command, env=environment, cwd=folder, capture_output=True, text=True, check=False
            )
            seconds = time.perf_counter() - begun
        if done.returncode:
            fail(f"{model} failed in {self.root}:\n{done.stderr.strip()}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer | {"process_seconds": seconds}


def compare(model: str, trees: list[Tree], given: argparse.Namespace) -> dict[str, Any]:
    """Runs all pairs of one model; the record holds every run."""
    for tree in trees:
        tree.run(model, given)  # fills caches of files and of compiled code; not counted
    runs: dict[str, list[dict[str, Any]]] = {tree.name: [] for tree in trees}
    for pair in range(given.pairs):
        for tree in trees if pair % 2 == 0 else reversed(trees):
            runs[tree.name].append(tree.run(model, given))
        print(f"  {model}: pair {pair + 1} of {given.pairs}", file=sys.stderr, flush=True)
    hashes = {run["worth_sha256"] for side in runs.values() for run in side}
    return {"model": model, "same_worths": len(hashes) == 1, "runs": runs} | {
        name: spread(quotients(runs, name)) for name in RATIOS
    }


def quotients(runs: dict[str, list[dict[str, Any]]], name: str) -> list[float]:
    """A figure of the run after over that of the run before, pair by pair."""
    pairs = zip(runs["before"], runs["after"], strict=True)
    return [float(after[name] / before[name]) for before, after in pairs]


def spread(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table of ratios."""
    lines = [
        "| model | evaluations/s before | after | after / before [lowest, highest] "
        "| process time, after / before | CPU time, after / before | worths |",
        "|---|---:|---:|---|---|---|---|",
    ]
    for row in rows:
        rates = [
            f"{median(run['evaluations_per_second'] for run in row['runs'][side]):,.0f}"
            for side in ("before", "after")
        ]
        ratios = [
            f"{row[name]['median']:.3f} [{row[name]['lowest']:.3f}, {row[name]['highest']:.3f}]"
            for name in RATIOS
        ]
        same = "equal" if row["same_worths"] else "DIFFER"
        lines.append(md.row([row["model"], *rates, *ratios, same]))
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, metavar="BEFORE", help="root of a checkout")
    parser.add_argument("after", type=Path, metavar="AFTER", help="root of another checkout")
    for side in ("before", "after"):
        parser.add_argument(
            f"--python-{side}",
            type=Path,
            default=Path(sys.executable),
            metavar="FILE",
            help="interpreter of that checkout (default: this one)",
        )
    parser.add_argument("--models", default=",".join(MODELS), metavar="NAME,...")
    parser.add_argument("--pairs", type=int, default=7, metavar="N")
    parser.add_argument("--limit", type=int, default=300, metavar="N", help="images of a run")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    parser.add_argument("--threads", type=int, metavar="N", help="default: all usable cores")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that evaluate in AFTER; BEFORE may be the same checkout",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write all runs as JSON")
    given = parser.parse_args()
    given.models = given.models.split(",")
    for name in given.models:
        if name not in BUNDLED:
            parser.error(f"unknown model {name!r}: choose from {', '.join(BUNDLED)}")
    if given.pairs < 1:
        parser.error("--pairs must be at least 1")
    for tree in (given.before, given.after):
        if not (tree / "iaside_onnx").is_dir():
            parser.error(f"{tree} holds no folder iaside_onnx")
    return given


def main() -> None:
    """Measures every model, prints the table, and writes the record if one is asked for."""
    given = _parse()
    trees = [
        # Not resolved: the interpreter of a virtual environment is a link.
        Tree("before", given.before.resolve(), given.python_before.absolute()),
        Tree("after", given.after.resolve(), given.python_after.absolute(), given.workers),
    ]
    record: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "bands": BANDS,
        "images": given.limit,
        "batch_size": given.batch_size,
        "threads": given.threads,
        "workers_after": given.workers,
        "pairs": given.pairs,
        "load_before": os.getloadavg(),
        "models": [],
    }
    for model in given.models:
        record["models"].append(compare(model, trees, given))
        if given.output:
            write_json(given.output, record)
    print(markdown(record["models"]))


if __name__ == "__main__":
    main()

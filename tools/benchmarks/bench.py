"""Speed and memory of iaside, of ONNX Runtime alone, and of a direct implementation of the paper.

    python -m tools.benchmarks.bench [--quick] [--only NAME,...] [--bands 4,8] [--lite0 LITE0.onnx]
    python -m tools.benchmarks.bench --table tools/records/bench.json

The three take turns on one machine. Each model and number of bands is measured in new processes;
the record is written after each of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from iaside_onnx.runtime import usable_cores
from tools.benchmarks.cases import CASES, Case, bundled, draw_images, write_tiny_cnn
from tools.benchmarks.table import markdown
from tools.shared.environments import with_checkout
from tools.shared.files import fail, sha256, write_json
from tools.shared.paths import RECORDS

RECORD = RECORDS / "bench.json"
MEMORY_BANDS = (8, 12)
PACKAGES = ("onnxruntime", "numpy", "scipy", "torch", "iaside-onnx")
QUICK = {"only": ["tiny-cnn", "fashion-cnn"], "bands": [8], "pairs": 2, "seconds": 0.3}


@dataclass(frozen=True)
class Subject:
    """A case and its files."""

    case: Case
    model: Path
    images: Path
    classes: Path | None


class Bench:
    """Runs the child processes and collects their answers."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self._arguments = arguments
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._record = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": versions(),
            "threads": arguments.threads,
            "pairs": arguments.pairs,
            "load_before": os.getloadavg(),
            "rows": self._rows,
        }

    def run(self) -> dict[str, Any]:
        """Measures every case, one after the other."""
        for subject in self._subjects():
            size = self._child("batch", subject, 8)["batch_size"]
            if self._arguments.sampled:
                row = self._sampled(subject, size)
                self._rows.append(row)
                write_json(self._arguments.output, self._record)
                continue
            for bands, timed in self._bands(subject.case):
                print(f"{subject.case.name}, M = {bands}, batches of {size}", file=sys.stderr)
                self._rows.append(self._row(subject, bands, size, timed))
                write_json(self._arguments.output, self._record)
        return self._record

    def _subjects(self) -> Iterator[Subject]:
        given = self._arguments
        for name in given.only or CASES:
            case = CASES[name]
            found = bundled(case)
            if found is not None:
                yield Subject(case, *found, None)
                continue
            model = self._model(case)
            if model is not None:
                folder = given.images if name == "efficientnet-lite0" else None
                images = folder or draw_images(case, self._folder)
                yield Subject(case, model, images, given.classes if folder else None)

    def _model(self, case: Case) -> Path | None:
        """The ONNX file of a case that is not bundled; None, with a message, if there is none."""
        target = self._folder / f"{case.name}.onnx"
        if case.name == "efficientnet-lite0":
            if self._arguments.lite0 is None:
                print("efficientnet-lite0 is left out: give --lite0 FILE.onnx", file=sys.stderr)
            lite0: Path | None = self._arguments.lite0
            return lite0
        if case.name == "tiny-cnn":
            write_tiny_cnn(target)
            return target
        try:
            from tools.benchmarks.plain import write_tiny_vit

            write_tiny_vit(target)
        except ImportError as error:
            print(f"{case.name} is left out: it needs {error.name}", file=sys.stderr)
            return None
        return target

    def _bands(self, case: Case) -> Iterator[tuple[int, bool]]:
        """Numbers of bands, and whether each is timed or only its memory is measured."""
        given = self._arguments
        timed = set(given.bands or (*case.bands, *(case.long_bands if given.long else ())))
        others = () if given.bands else MEMORY_BANDS
        for bands in sorted({*timed, *others}):
            yield bands, bands in timed

    def _sampled(self, subject: Subject, size: int) -> dict[str, Any]:
        """One pair of permutations an image, M = 8: shows the fixed cost of an image."""
        row = self._facts(subject, 8, size) | {"sampled": True}
        limit = self._arguments.limit
        return row | self._child("speed", subject, 8, batch_size=size, limit=limit, sampled=True)

    def _facts(self, subject: Subject, bands: int, size: int) -> dict[str, Any]:
        return {
            "model": subject.case.name,
            "model_sha256": sha256(subject.model),
            "photographs": subject.images.is_dir(),
            "bands": bands,
            "batch_size": size,
            "load": os.getloadavg(),
        }

    def _row(self, subject: Subject, bands: int, size: int, timed: bool) -> dict[str, Any]:
        row = self._facts(subject, bands, size)
        given = self._arguments
        if timed:
            row |= self._child("speed", subject, bands, batch_size=size, limit=given.limit)
            starts = [
                # As on the command line: without --batch-size iaside chooses it.
                self._child("first", subject, bands, batch_size=given.batch_size)["seconds"]
                for _ in range(1 if given.quick else 3)
            ]
            row["first_seconds"] = starts
        if bands in MEMORY_BANDS:
            row["memory_images"] = subject.case.memory_images
            row["peak_bytes"] = {
                way: self._child(
                    "memory", subject, bands, batch_size=size, limit=row["memory_images"], way=way
                )["peak_bytes"]
                for way in ("raw", "iaside", "plain")
            }
        return row

    def _child(self, action: str, subject: Subject, bands: int, **more: Any) -> dict[str, Any]:
        """The answer of one action, run in a new process."""
        given = self._arguments
        job = {
            "name": subject.case.name,
            "model": str(subject.model),
            "images": str(subject.images),
            "classes": str(subject.classes) if subject.classes else None,
            "bands": bands,
            "threads": given.threads,
            "batch_size": given.batch_size,
            "limit": None,
            "pairs": given.pairs,
            "seconds": given.seconds,
            "way": "",
            "sampled": False,
        } | more
        command = [sys.executable, "-m", "tools.benchmarks.child", action, json.dumps(job)]
        # Files of children that end abruptly are removed with our temporary folder.
        where = with_checkout(TMPDIR=str(self._folder), BENCH_STARTED=repr(time.time()))
        done = subprocess.run(command, env=where, capture_output=True, text=True, check=False)
        if done.returncode:
            fail(f"{action} of {subject.case.name}, M = {bands}, failed:\n{done.stderr.strip()}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


def machine() -> dict[str, Any]:
    """The machine that the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        named = [s for s in information.read_text().splitlines() if s.startswith("model name")]
        cpu = named[0].partition(":")[2].strip() if named else cpu
    return {
        "cpu": cpu,
        "cores": usable_cores(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str | None]:
    """Versions of the packages involved; None if one is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(CASES)}")
    parser.add_argument("--bands", metavar="M,...", help="time these and measure no others")
    parser.add_argument("--lite0", type=Path, metavar="FILE.onnx", help="EfficientNet-Lite0")
    parser.add_argument("--images", type=Path, metavar="DIR", help="class folders for --lite0")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="of --images, as for iaside")
    parser.add_argument("--pairs", type=int, default=10, metavar="N")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement, about")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="images of a run, instead of --seconds"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="default: chosen by iaside")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N")
    parser.add_argument("--long", action="store_true", help="also M = 12 on the large models")
    parser.add_argument("--sampled", action="store_true", help="one pair an image, M = 8")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"default: {RECORD.name}")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="print the table of a record and exit"
    )
    given = parser.parse_args()
    given.only = given.only.split(",") if given.only else None
    given.bands = [int(word) for word in given.bands.split(",")] if given.bands else None
    for name in given.only or ():
        if name not in CASES:
            parser.error(f"unknown model {name!r}: choose from {', '.join(CASES)}")
    if given.quick:
        given.pairs, given.seconds = QUICK["pairs"], QUICK["seconds"]
        given.only, given.bands = given.only or QUICK["only"], given.bands or QUICK["bands"]
    elif given.output is None:
        given.output = RECORD.with_name("bench-sampled.json") if given.sampled else RECORD
    return given


def main() -> None:
    """Measures and prints the table, or prints the table of a record."""
    given = _parse()
    if given.table:
        print(markdown(json.loads(given.table.read_text(encoding="utf-8"))))
        return
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: the plain way is left out", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        # A smoke test keeps no record unless --output is given.
        given.output = given.output or Path(folder) / RECORD.name
        record = Bench(given, Path(folder)).run()
    if not record["rows"]:
        fail("nothing was measured")
    print(markdown(record))


if __name__ == "__main__":
    main()

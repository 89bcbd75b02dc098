"""Checks what needs an NVIDIA GPU: parity, speed, memory, errors; writes a dated record.

    python -m tools.gpu.check [--quick] [--device cpu] [--only SECTION,...]

It needs the project's GPU packages, and runs from a checkout. A section that fails is recorded,
and the next one begins. `--device cpu` tests the script on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from iaside_onnx.version import __version__
from tools.gpu.context import Context
from tools.gpu.sections import environment, errors, memory, models, parity, resume
from tools.gpu.stages import stages
from tools.gpu.throughput import throughput
from tools.shared.paths import RECORDS

# In this order: if time runs out, only settings of the throughput are left out.
SECTIONS: dict[str, Callable[[Context, dict[str, Any]], None]] = {
    check.__name__: check
    for check in (environment, models, parity, memory, errors, stages, resume, throughput)
}
_NEEDED = ("environment", "models")


def run_section(context: Context, name: str) -> bool:
    """Runs one section and records its results; returns whether it passed."""
    context.tell(name)
    begun = time.monotonic()
    found: dict[str, Any] = {}
    context.record[name] = found
    try:
        SECTIONS[name](context, found)
    except Exception as error:  # noqa: BLE001  # the next section may still work
        found["error"] = context.plain(error)
        context.tell(f"  {name}: FAILED, {found['error']}")
    found["seconds"] = round(time.monotonic() - begun, 1)
    context.keep()
    return not found.get("error") and not found.get("failed")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or, without a GPU, cpu")
    parser.add_argument("--quick", action="store_true", help="a small network and fewer settings")
    parser.add_argument("--only", metavar="SECTION,...", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument(
        "--seconds", type=float, default=420, help="after this time no slow measurement begins"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="default: records/gpu-DATE.json"
    )
    given = parser.parse_args()
    given.only = given.only.split(",") if given.only else list(SECTIONS)
    for name in given.only:
        if name not in SECTIONS:
            parser.error(f"unknown section {name!r}: choose from {', '.join(SECTIONS)}")
    return given


def main() -> None:
    """Runs the sections; exit status 1 if one of them failed."""
    given = _parse()
    now = datetime.now(UTC)
    output = given.output or RECORDS / f"gpu-{now:%Y-%m-%d}.json"
    with tempfile.TemporaryDirectory() as name:
        context = Context(
            given.device, Path(name), output, quick=given.quick, seconds=given.seconds
        )
        context.record |= {
            "date": now.isoformat(timespec="seconds"),
            "version": __version__,
            "device": given.device,
            "quick": given.quick,
        }
        chosen = [n for n in SECTIONS if n in given.only or n in _NEEDED]
        failed = [n for n in chosen if not run_section(context, n)]
    context.record["failed"] = failed
    context.keep()
    context.tell(
        f"{output.name}: {'failed: ' + ', '.join(failed) if failed else 'all sections passed'}"
    )
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()

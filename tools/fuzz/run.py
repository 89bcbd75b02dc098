"""Feeds spoiled files to the command line for some time; each in a process of its own, with limits.

    python tools/fuzz/run.py all --seconds 60
    python tools/fuzz/run.py archives --seconds 1800 -o RECORD.json
    python tools/fuzz/run.py again tests/data/fuzz/archives/*

A command may succeed, or fail with exit status 1 or 2 and one sentence. Anything else is a finding,
kept in tests/data/fuzz/, where a test tries it for ever. Crashes
of native libraries (HDF5, ONNX Runtime), and what is stopped by the limits on time and memory, are
counted: they are what `--timeout` and `--memory-limit` are for.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, Phase, given, seed, settings

from iaside_onnx.cli import main as iaside
from iaside_onnx.engine.verification import check
from iaside_onnx.errors import ArchiveError
from tools.fuzz.targets import Target, targets
from tools.shared.paths import TEST_DATA

KEPT = TEST_DATA / "fuzz"
SECONDS_EACH = 20
MEMORY = 3 << 30
ROUND = 200
_FINDING = 99


class FindingError(Exception):
    """Something that must not be."""


def one_command(words: Sequence[str]) -> int:
    """Exit status of a command that behaves.

    Raises:
        FindingError: it ended otherwise, or said something with a control character in it.
    """
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["iaside", *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            if words[0] == "CHECK":
                with contextlib.suppress(ArchiveError):
                    check(Path(words[1]))
            else:
                iaside()
        except SystemExit as stop:
            code = stop.code
    said = out.getvalue() + err.getvalue()
    if code not in (0, 1, 2) or "Traceback" in said:
        raise FindingError(f"exit status {code}: {said[-2000:]}")
    odd = {c for c in said if not c.isprintable() and c not in "\n"}
    if odd:
        raise FindingError(f"control characters {odd} are printed: {said[-2000:]!r}")
    return int(str(code))


def in_child(target: Target, ending: str, data: bytes) -> str:
    """What the commands make of one file, in a word; `FindingError` has the child's words."""
    folder = Path(tempfile.mkdtemp(prefix="iaside-fuzz-"))
    words = folder / "words.txt"
    child = os.fork()
    if child == 0:
        # Of the processor, as machines are shared; and on the clock, for what waits for ever.
        signal.setitimer(signal.ITIMER_PROF, SECONDS_EACH)
        signal.alarm(10 * SECONDS_EACH)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        status = _FINDING
        try:
            # What native libraries print themselves.
            with words.with_suffix(".native").open("w") as native:
                os.dup2(native.fileno(), 1)
                os.dup2(native.fileno(), 2)
            os.chdir(folder)
            target.prepare(folder)
            (folder / f"input{ending}").write_bytes(data)
            # All of them must behave; what is counted is what the first one said.
            status, *_ = [one_command(c) for c in target.commands(f"input{ending}")]
        except BaseException:  # noqa: BLE001  # any other is the finding
            words.write_text(traceback.format_exc())
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    said = words.read_text() if words.exists() else ""
    shutil.rmtree(folder, ignore_errors=True)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    if os.WEXITSTATUS(status) == _FINDING:
        raise FindingError(said)
    return ("read", "refused", "refused")[os.WEXITSTATUS(status)]


def keep(name: str, ending: str, data: bytes) -> Path:
    """Write a finding down for the tests."""
    folder = KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:12]}{ending}"
    path.write_bytes(data)
    return path


def fuzz(
    name: str, target: Target, seconds: float, start: int, examples: Path | None
) -> dict[str, object]:
    """Try spoiled files until the time is up; of each kind of finding the shortest file is kept."""
    seen: collections.Counter[str] = collections.Counter()
    found: dict[str, tuple[str, bytes]] = {}
    ending_at = time.monotonic() + seconds

    def attempt(file: tuple[str, bytes]) -> None:
        if time.monotonic() > ending_at:
            return
        try:
            what = in_child(target, *file)
            seen[what] += 1
            if examples is not None and what.startswith("SIG"):
                ending, data = file
                (examples / f"{name}-{what}-{seen[what]}{ending}").write_bytes(data)
        except FindingError as error:
            seen["findings"] += 1
            # The place where it was raised, and what it was.
            kind = " ".join(str(error).strip().split("\n")[-4:])
            if kind not in found or len(file[1]) < len(found[kind][1]):
                found[kind] = file

    number = start
    while time.monotonic() < ending_at:
        chosen = settings(
            max_examples=ROUND, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        seed(number)(chosen(given(target.strategy)(attempt)))()
        number += 1
    kept = {keep(name, *file).name: kind for kind, file in found.items()}
    return {"target": name, "seconds": seconds, "seeds": [start, number], **seen, "kept": kept}


def main() -> None:
    """Fuzzes one target or all, one after the other; exit status 1 if there is a finding."""
    known = targets()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("target", choices=["all", "again", *known])
    parser.add_argument("files", nargs="*", type=Path, help="to be tried again, in their folders")
    parser.add_argument("--seconds", type=float, default=60, help="for all of them together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="append a line of JSON for each target")
    parser.add_argument(
        "--examples", type=Path, help="keep what crashed or was stopped in a folder"
    )
    words = parser.parse_args()
    if words.target == "again":
        for path in words.files:
            print(path.name, in_child(known[path.parent.name], path.suffix, path.read_bytes()))
        return
    names = list(known) if words.target == "all" else [words.target]
    found = False
    for name in names:
        result = fuzz(name, known[name], words.seconds / len(names), words.seed, words.examples)
        print(json.dumps(result), flush=True)
        if words.output:
            with words.output.open("a") as file:
                file.write(json.dumps(result) + "\n")
        found |= bool(result["kept"])
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

"""Runs the command line on damaged files, in child processes with limited time and memory.

    python -m tools.fuzz.run all --seconds 60
    python -m tools.fuzz.run archives --seconds 1800 -o RECORD.json
    python -m tools.fuzz.run again tests/data/fuzz/archives/*

A command may succeed, or fail with exit status 1 or 2 and one sentence. Anything else is a finding.
Its file is kept in tests/data/fuzz/, and a test runs it from then on. Crashes of native libraries
(HDF5, ONNX Runtime) and runs that exceed a limit are only counted: a user of the command line has
`--timeout` and `--memory-limit` against them.
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

from iaside_onnx.analysis import check
from iaside_onnx.cli import main as iaside
from iaside_onnx.errors import ArchiveError
from tools.fuzz.targets import Target, targets
from tools.shared.paths import TEST_DATA

KEPT = TEST_DATA / "fuzz"
SECONDS_EACH = 20
MEMORY = 3 << 30
ROUND = 200
_FINDING = 99


class FindingError(Exception):
    """A command that did not end as it should."""


def one_command(words: Sequence[str]) -> int:
    """Exit status of a command.

    Raises:
        FindingError: if it ended with a traceback or with another exit status than 0, 1 and 2, or
            printed a control character.
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
        raise FindingError(f"control characters {odd} were printed: {said[-2000:]!r}")
    return int(str(code))


def in_child(target: Target, ending: str, data: bytes) -> str:
    """Runs the commands on one file in a child process.

    Returns:
        `read`, `refused`, or the name of the signal that ended the child.

    Raises:
        FindingError: with the traceback of the child.
    """
    folder = Path(tempfile.mkdtemp(prefix="iaside-fuzz-"))
    words = folder / "words.txt"
    child = os.fork()
    if child == 0:
        # CPU time, because the machine may be loaded; real time against a child that only waits.
        signal.setitimer(signal.ITIMER_PROF, SECONDS_EACH)
        signal.alarm(10 * SECONDS_EACH)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        status = _FINDING
        try:
            # Output of native libraries.
            with words.with_suffix(".native").open("w") as native:
                os.dup2(native.fileno(), 1)
                os.dup2(native.fileno(), 2)
            os.chdir(folder)
            target.prepare(folder)
            (folder / f"input{ending}").write_bytes(data)
            # Every command is checked; the first one's status is counted.
            status, *_ = [one_command(c) for c in target.commands(f"input{ending}")]
        except BaseException:  # noqa: BLE001  # anything else is a finding
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
    """Keeps the file of a finding for the tests."""
    folder = KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:12]}{ending}"
    path.write_bytes(data)
    return path


def fuzz(
    name: str, target: Target, seconds: float, cases: int, start: int, examples: Path | None
) -> dict[str, object]:
    """Try damaged files until ``seconds`` or ``cases`` are used up.

    The shortest file of each kind of finding is kept.
    """
    seen: collections.Counter[str] = collections.Counter()
    found: dict[str, tuple[str, bytes]] = {}
    ending_at = time.monotonic() + seconds

    def is_over() -> bool:
        return time.monotonic() > ending_at or seen.total() >= cases

    def attempt(file: tuple[str, bytes]) -> None:
        if is_over():
            return
        try:
            what = in_child(target, *file)
            seen[what] += 1
            if examples is not None and what.startswith("SIG"):
                ending, data = file
                (examples / f"{name}-{what}-{seen[what]}{ending}").write_bytes(data)
        except FindingError as error:
            seen["findings"] += 1
            # The last lines of the traceback: where it was raised, and the error.
            kind = " ".join(str(error).strip().split("\n")[-4:])
            if kind not in found or len(file[1]) < len(found[kind][1]):
                found[kind] = file

    number = start
    while not is_over():
        chosen = settings(
            max_examples=ROUND, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        seed(number)(chosen(given(target.strategy)(attempt)))()
        number += 1
    kept = {keep(name, *file).name: kind for kind, file in found.items()}
    return {"target": name, "seconds": seconds, "seeds": [start, number], **seen, "kept": kept}


def main() -> None:
    """Fuzzes one target or all of them; the exit status is 1 if there is a finding."""
    known = targets()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("target", choices=["all", "again", *known])
    parser.add_argument(
        "files", nargs="*", type=Path, help="files to try again; the folder names the target"
    )
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--cases", type=int, default=sys.maxsize, help="at most, of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="append a line of JSON for each target")
    parser.add_argument(
        "--examples", type=Path, help="folder for files that caused a crash or exceeded a limit"
    )
    words = parser.parse_args()
    if words.target == "again":
        for path in words.files:
            print(path.name, in_child(known[path.parent.name], path.suffix, path.read_bytes()))
        return
    names = list(known) if words.target == "all" else [words.target]
    found = False
    for name in names:
        seconds = words.seconds / len(names)
        result = fuzz(name, known[name], seconds, words.cases, words.seed, words.examples)
        print(json.dumps(result), flush=True)
        if words.output:
            with words.output.open("a") as file:
                file.write(json.dumps(result) + "\n")
        found |= bool(result["kept"])
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

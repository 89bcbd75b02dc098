"""Files that once ended in a traceback, found by tools/fuzz; each is a permanent test case."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOUND = sorted(path for path in (ROOT / "tests" / "data" / "fuzz").glob("*/*") if path.is_file())


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.fuzz.run", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_what_was_found_stays_fixed() -> None:
    """A file from a stranger ends in a traceback, or hangs, once more."""
    assert len(FOUND) > 10
    done = run("again", *FOUND)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = [line.split()[-1] for line in done.stdout.splitlines()]
    assert len(outcomes) == len(FOUND)
    # Each case has 20 seconds of processor time, which do not depend on other processes.
    assert set(outcomes) <= {"read", "refused"}


@pytest.mark.parametrize(
    "target",
    [
        "specs",
        *(pytest.param(name, marks=pytest.mark.slow)
          for name in ("models", "arrays", "images", "archives")),
    ],
)  # fmt: skip
def test_every_target_can_be_fuzzed(target: str) -> None:
    """The harness itself is broken, and finds nothing for that reason."""
    done = run(target, "--cases", "12", "--seconds", "600")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout)
    assert seen.get("refused", 0) + seen.get("read", 0) == 12
    assert seen["refused"] > 0

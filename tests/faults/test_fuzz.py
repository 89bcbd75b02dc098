"""Files that once got through to a traceback, found by tools/fuzz; each is tried for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOUND = sorted(path for path in (ROOT / "tests" / "data" / "fuzz").glob("*/*") if path.is_file())


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.fuzz.run", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_what_was_found_is_mended() -> None:
    """A file that somebody sends ends in a traceback, once more."""
    assert len(FOUND) > 10
    done = run("again", *FOUND)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(FOUND)


@pytest.mark.parametrize("target", ["specs", "models", "arrays", "images", "archives"])
def test_every_target_can_be_fuzzed(target: str) -> None:
    """The harness itself is broken, and finds nothing for that reason."""
    done = run(target, "--seconds", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"refused": ' in done.stdout

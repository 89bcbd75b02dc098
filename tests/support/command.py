"""The command line as users run it, in this process for speed or in one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from iaside_onnx.cli import main

__all__ = [
    "CNN",
    "MODELS",
    "PATIENCE",
    "PICTURES",
    "Outcome",
    "command",
    "in_process",
    "in_subprocess",
]

MODELS = Path(__file__).parents[2] / "models"
CNN = MODELS / "fashion-cnn.onnx"
PICTURES = MODELS / "fashion-mnist-1000.npz"
PATIENCE = 1200
"""Seconds that anything may take on a busy machine; what takes longer hangs."""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind.

    Attributes:
        code: exit status.
        out: stdout.
        err: stderr.
    """

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The last line of stderr, where the error is."""
        return self._lines[-1]

    @property
    def _lines(self) -> list[str]:
        return self.err.strip("\n").split("\n")

    def fails(self, *phrases: str, code: int = 1) -> None:
        """Assert that it failed with one line that has all phrases, and without a traceback."""
        assert self.code == code, self.err
        assert "Traceback" not in self.err
        assert [line for line in self._lines if line.startswith("Error")] == [self.error], self.err
        for phrase in phrases:
            assert phrase in self.error
        assert self.out == ""

    def succeeds(self) -> None:
        """Assert that it succeeded and printed no error."""
        assert self.code == 0, self.err
        assert not [line for line in self._lines if line.startswith(("Error", "Traceback"))]


def command(*args: str | Path) -> list[str]:
    """The words to start the command line in a process of its own."""
    return [sys.executable, "-m", "iaside_onnx", *map(str, args)]


def in_process(*args: str | Path) -> Outcome:
    """Run the entry point here, as the installed script does."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["iaside", *map(str, args)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())


def in_subprocess(*args: str | Path, cwd: Path | None = None) -> Outcome:
    """Run the entry point in a process of its own."""
    done = subprocess.run(
        command(*args), cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "COLUMNS": "400"},
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)

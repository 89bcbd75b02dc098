"""What a command that was killed leaves behind, the next one for the same output removes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("sympy")

from tests.support.command import CNN, PATIENCE, PICTURES, command, in_process


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".*.tmp"))


def test_quantize_killed_in_the_middle(tmp_path: Path) -> None:
    """Each kill would leave several copies of the model beside the output, out of sight."""
    words: list[str | Path] = ["quantize", CNN, "--images", PICTURES, "-o", tmp_path / "q.onnx"]
    with subprocess.Popen(
        command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        end = time.monotonic() + PATIENCE
        # A file in it: the tools are at work.
        while not any(tmp_path.glob(".*.tmp/*")) and time.monotonic() < end:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
    assert leftovers(tmp_path)
    assert not (tmp_path / "q.onnx").exists()
    in_process(*words).succeeds()
    assert [p.name for p in tmp_path.iterdir()] == ["q.onnx"]


def test_a_supervised_command_that_is_stopped(tmp_path: Path) -> None:
    """`--timeout` ends what never ends, and its temporary files would stay."""
    words: list[str | Path] = ["quantize", CNN, "--images", PICTURES, "-o", tmp_path / "q.onnx"]
    for seconds in ("0.8", "1.6", "2.4"):
        subprocess.run(command(*words, "--timeout", seconds), capture_output=True, check=False)
    in_process(*words, "--overwrite").succeeds()
    assert [p.name for p in tmp_path.iterdir()] == ["q.onnx"]

"""Terminals that are narrow, know ASCII only, are full, or are not there."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.support.command import command, in_process

WORDS = ("decompose", "model.onnx", "--images", "images.npz", "--bands", "3", "-o", "out.h5")

pytestmark = pytest.mark.usefixtures("finished")


@pytest.fixture
def finished(folder: Path) -> Path:
    in_process(*WORDS).succeeds()
    return folder / "out.h5"


def on_terminal(columns: int) -> str:
    """What ``show`` prints on a terminal of so many columns."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "dumb"}
    with subprocess.Popen(
        command("show", "out.h5"), stdout=follower, stderr=follower, env=environment
    ) as process:
        os.close(follower)
        printed = b""
        try:
            while chunk := os.read(leader, 65536):
                printed += chunk
        except OSError:
            pass  # the way in which Linux says that the other end is closed
        finally:
            os.close(leader)
    assert process.returncode == 0
    return printed.decode()


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_numbers_are_never_cut(columns: int) -> None:
    """A bound without its last digits is a wrong bound."""
    printed = on_terminal(columns)
    piped = in_process("show", "out.h5").out
    for line in piped.splitlines()[4:7]:
        numbers = line[: line.rindex("]") + 1]
        assert numbers
        assert numbers in printed.replace("\r\n", "\n")


def test_ascii_locale() -> None:
    """Bars and rules beyond ASCII would end in a traceback after the work is done."""
    environment = {**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        command("show", "out.h5"), capture_output=True, check=True, env=environment
    )
    text = done.stdout.decode("ascii")
    assert "SIS" in text
    assert "---" in text


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_stdout_is_one_sentence(options: list[str]) -> None:
    """The archive is made; that it could not be printed is no crash, and no success."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("show", "out.h5", *options), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.decode().startswith("Error: the result cannot be printed: No space left")
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_a_closed_stdout_is_no_crash() -> None:
    """Services start programs without one."""
    words = " ".join(command("show", "out.h5"))
    done = subprocess.run(["bash", "-c", f"{words} >&-"], capture_output=True, check=False)
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 1)

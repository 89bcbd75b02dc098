"""Who hears of a run in Python: a bar where somebody watches, the log everywhere else."""

from __future__ import annotations

import errno
import io
import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from iaside_onnx import decompose
from iaside_onnx.progress import BarProgress, LogProgress, listener
from tests.support.command import CNN, PICTURES


class Terminal(io.StringIO):
    """Stderr of somebody who watches."""

    def isatty(self) -> bool:
        return True


class Gone(Terminal):
    """A terminal at whose other end nobody is, as by a closed SSH connection."""

    def write(self, _: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def watched(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Stderr as a terminal; pytest puts its own there before each test."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    return made


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Minutes without a sign of life look like a program that hangs."""
    terminal = watched(monkeypatch)
    decompose(CNN, PICTURES, tmp_path / "a.h5", bands=2, limit=12)
    shown = terminal.getvalue()
    assert "0/12 [" in shown
    assert "images/s" in shown
    # The bar goes when it is done.
    assert not shown.split("\r")[-1].strip()


@pytest.mark.parametrize("off", [False, None])
def test_the_bar_can_be_turned_off(
    off: bool | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Output that a program has to itself would be mixed with a bar."""
    terminal = watched(monkeypatch)
    decompose(CNN, PICTURES, tmp_path / "a.h5", bands=2, limit=4, progress=off)
    assert terminal.getvalue() == ""


def test_a_script_that_nobody_watches_is_silent(tmp_path: Path) -> None:
    """Logs of servers fill with bars, and every script pays for a package that it does not use."""
    code = (
        "import sys, iaside_onnx\n"
        f"iaside_onnx.decompose({str(CNN)!r}, {str(PICTURES)!r}, 'a.h5', bands=2, limit=4)\n"
        "print('tqdm' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(CNN.parents[1])},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_notebook_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stderr of a notebook's kernel is no terminal."""
    assert type(listener(True)) is LogProgress
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", ModuleType("zmqshell"))
    assert type(listener(True)) is BarProgress
    assert type(listener(False)) is LogProgress


def test_no_stderr_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs without a console have no stderr at all."""
    monkeypatch.setattr(sys, "stderr", None)
    assert type(listener(True)) is LogProgress


def test_what_was_given_listens() -> None:
    """A program's own progress would be replaced by ours."""
    given = LogProgress()
    assert listener(given) is given


def test_words_are_logged_beside_the_bar(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning is lost in the line of the bar."""
    terminal = watched(monkeypatch)
    caplog.set_level(logging.INFO, "iaside_onnx")
    bar = BarProgress()
    bar.say("before")
    bar.begin(3, 1, 4)
    bar.advance(1)
    bar.warn("in the middle")
    bar.end()
    bar.say("after")
    logged = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert logged == [
        ("INFO", "before"), ("INFO", "3 images, 1 finished, 4 evaluations each"),
        ("WARNING", "in the middle"), ("INFO", "after"),
    ]  # fmt: skip
    assert "1/3 [" in terminal.getvalue()


def test_a_terminal_that_has_gone_stops_no_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A closed window would end a run of hours."""
    monkeypatch.setattr(sys, "stderr", Gone())
    archive = decompose(CNN, PICTURES, tmp_path / "a.h5", bands=2, limit=4)
    assert archive["image"].size == 4

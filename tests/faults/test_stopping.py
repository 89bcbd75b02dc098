"""Signals at any moment, and processes that supervise others."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.bad_case import Case
from tests.support.command import CNN, PATIENCE, PICTURES, command

WORDS = ("decompose", str(CNN), "--images", str(PICTURES), "--limit", "100", "-o", "out.h5")
LONG = ("--timeout", "7200")
EXIT = {signal.SIGINT: (130, "Error: interrupted; "), signal.SIGTERM: (143, "Error: stopped; ")}

pytestmark = [
    pytest.mark.usefixtures("folder"),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def catches_signals(process: subprocess.Popen[str]) -> bool:
    """Whether it has a handler for SIGTERM, which Python by itself has not."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"SigCgt:\s+([0-9a-f]+)", status)
    return found is not None and bool(int(found[1], 16) >> (signal.SIGTERM - 1) & 1)


def supervised_by(pid: int) -> list[int]:
    """The living processes that were started as supervised by another one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"_IASIDE_SUPERVISOR={pid}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", EXIT)
@pytest.mark.parametrize(
    ("words", "moments"),
    [
        pytest.param(WORDS, 4, id="quick"),
        pytest.param(WORDS, 40, marks=pytest.mark.slow, id="alone"),
        pytest.param((*WORDS, *LONG), 40, marks=pytest.mark.slow, id="supervised"),
        pytest.param((*WORDS, "--workers", "2"), 20, marks=pytest.mark.slow, id="workers"),
    ],
)
def test_a_signal_at_any_moment_is_one_sentence(
    number: signal.Signals, words: tuple[str, ...], moments: int
) -> None:
    """A traceback, or "ONNX Runtime is not installed", as its import was interrupted."""
    code, begins = EXIT[number]
    for delay in np.linspace(0, 1.5, moments):
        with start(*words) as process:
            while process.poll() is None and not catches_signals(process):
                time.sleep(0.001)
            time.sleep(delay)
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
        said = [line for line in err.splitlines() if line.startswith(("Error", "Trace", "Except"))]
        if process.returncode == 0:
            # It was finished before.
            assert "SIS" in out
            assert said == []
            continue
        assert process.returncode == code, err
        assert len(said) == 1, err
        assert said[0].startswith(begins)


def test_handlers_are_there_before_what_takes_time() -> None:
    """Ctrl-C in the first half second is a traceback of click, rich or NumPy."""
    script = "import iaside_onnx.__main__, json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert loaded.isdisjoint({"click", "rich", "numpy", "lazy_loader", "threading", "subprocess"})


FRAGILE = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.2)
except BaseException:
    raise ImportError("it is not installed")
"""
SCRIPT = """
import os, signal, sys, time
sys.path.insert(0, ".")
from iaside_onnx.cli.signals import SignalHandling

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

class Half:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        self.made = True

    def __del__(self):
        self.made

handling = SignalHandling()
try:
    with handling.active():
        {what}
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", handling.received)
"""


@pytest.mark.parametrize("what", ["import fragile", "Last()", "[Last(), Last()].clear()", "Half()"])
def test_a_signal_is_not_lost_on_the_way(what: str) -> None:
    """Imports make another error of it, and finalisers drop it and print a traceback."""
    Path("fragile.py").write_text(FRAGILE)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(what=what)], capture_output=True, text=True,
        check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("interrupted 2\n", "")


def test_a_child_ends_with_its_supervisor() -> None:
    """A run that nobody waits for takes the machine, without the limit that was asked for."""
    for delay in (0.0, 0.1, 0.2, 0.3, 0.45):
        words = command(*WORDS, *LONG)
        with subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None and not supervised_by(process.pid):
                time.sleep(0.001)
            time.sleep(delay)
            process.kill()
        while supervised_by(process.pid):
            time.sleep(0.01)
        # One that supervises itself anew has a child of its own.
        time.sleep(0.1)
        left = [path for path in Path("/proc").glob("[0-9]*/cwd") if is_here(path)]
        assert not left
        assert not Path("out.h5").exists()


def is_here(link: Path) -> bool:
    """Whether another process works in this folder."""
    try:
        return link.readlink() == Path.cwd() and link.parent.name != str(os.getpid())
    except OSError:
        return False


def test_a_limit_lets_a_run_clear_up() -> None:
    """SIGKILL leaves locks and temporary files, and loses what is written at the end."""
    words = (*WORDS[:4], "--bands", "14", "-o", "out.h5", "--profile", "p.json", "--timeout")
    for seconds in ("4", "16", "64", "256"):
        with start(*words, seconds) as process:
            _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        (said,) = [line for line in err.splitlines() if line.startswith("Error")]
        assert f"stopped after {seconds} seconds (--timeout)" in said
        if Path("out.h5.work/plan.json").exists():
            # Written when the run ends, however it ends.
            assert json.loads(Path("p.json").read_text())["seconds"]
            return
    pytest.fail("the run was not reached")


@pytest.mark.parametrize("limit", ["999999999999T", "8388608T"])
def test_more_than_any_memory_is_no_size(limit: str) -> None:
    """A number that the kernel cannot take is a traceback."""
    with start("show", "none.h5", "--memory-limit", limit) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "is more than any memory" in err
    assert "Traceback" not in err


def test_a_memory_limit_above_that_of_the_shell() -> None:
    """A process cannot raise the limit that its shell gave it: that is a traceback."""
    words = shlex.join(command(*Case("good", "").words, "--memory-limit", "8G"))
    done = subprocess.run(
        ["bash", "-c", f"ulimit -d 4000000; {words}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


TERMINAL = """
import os, pty, subprocess, sys, termios
leader, follower = pty.openpty()
os.setsid()
terminal = os.open(os.ttyname(follower), os.O_RDWR)
settings = termios.tcgetattr(terminal)
settings[3] |= termios.TOSTOP
termios.tcsetattr(terminal, termios.TCSANOW, settings)
process = subprocess.Popen(sys.argv[1:], stdin=terminal, stdout=terminal, stderr=terminal)
os.close(terminal), os.close(follower)
printed = b""
try:
    while chunk := os.read(leader, 65536):
        printed += chunk
except OSError:
    pass
sys.stdout.buffer.write(printed)
sys.exit(process.wait())
"""


def test_a_supervised_run_writes_to_any_terminal() -> None:
    """After `stty tostop`, a process in the background that writes is stopped, and never ends."""
    words = command(*Case("good", "").words, *LONG)
    done = subprocess.run(
        [sys.executable, "-c", TERMINAL, *words], capture_output=True, text=True, check=False,
        timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIS" in done.stdout

"""What strangers' models do to time and memory, and what stops them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.faults.bad_graphs import HOSTILE, hostile
from tests.support.bad_case import Case, pixels, save_model, save_wide
from tests.support.command import PATIENCE, Outcome, command, in_process, in_subprocess
from tests.support.comparing import assert_nothing_left, assert_same

MIB = 1 << 20
ENDLESS = "a loop without end"
WORDS = tuple(Case("good", "").words)
# A limit that no test reaches, however busy the machine is.
LONG = ("--timeout", "7200")
# Python runs this file at the start of each process. On SIGUSR1 each process then appends its stack
# to a file that has the name of its process id, also while native code runs.
HOOK = """
import faulthandler, os, pathlib, signal
new = pathlib.Path({stacks!r}, f"{{os.getpid()}}.new")
faulthandler.register(signal.SIGUSR1, new.open("w"))
new.rename(new.with_suffix(""))
"""
IN_MODEL = re.compile(
    r"first\):\n  File \"[^\"]*onnxruntime_inference_collection.py\", line \d+ in run"
)


def measured(*words: str) -> tuple[Outcome, int]:
    """What a command printed, and the most memory that any of its processes held, in bytes."""
    with Path("said").open("w") as said, Path("out").open("w") as out:
        process = subprocess.Popen(command(*words), stdout=out, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    outcome = Outcome(process.returncode, Path("out").read_text(), Path("said").read_text())
    return outcome, used.ru_maxrss << 10


class Endless:
    """A command that evaluates a model without end.

    Attributes:
        process: the process that was started.
    """

    def __init__(self, folder: Path, *limits: str) -> None:
        save_model(folder, hostile(ENDLESS))
        self._stacks = folder.parent / "stacks"
        shutil.rmtree(self._stacks, ignore_errors=True)
        self._stacks.mkdir()
        hook = folder.parent / "hook"
        hook.mkdir(exist_ok=True)
        (hook / "sitecustomize.py").write_text(HOOK.format(stacks=str(self._stacks)))
        paths = [str(hook), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            command(*WORDS, *limits), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )  # fmt: skip

    @property
    def pids(self) -> list[int]:
        """The processes that have started Python, the first one included."""
        return sorted(int(path.name) for path in self._stacks.iterdir() if not path.suffix)

    def is_in_model(self) -> bool:
        """Wait until a process is inside of the model; False if the command ends before."""
        for _ in range(PATIENCE * 10):
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1)
            if any(IN_MODEL.search((self._stacks / str(pid)).read_text()) for pid in self.pids):
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.1)
        pytest.fail("the model was not reached")

    def finish(self) -> Outcome:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return Outcome(self.process.returncode, out, err)

    def kill(self) -> None:
        """End all that is left."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def endless(folder: Path) -> Iterator[Callable[..., Endless]]:
    """Starts commands that evaluate a model without end, and ends them with the test."""
    started: list[Endless] = []

    def start(*limits: str) -> Endless:
        started.append(Endless(folder, *limits))
        return started[-1]

    yield start
    for run in started:
        run.kill()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if number == 0 else pytest.mark.slow)
        for number, name in enumerate(name for name in HOSTILE if name != ENDLESS)
    ],
)
def test_a_model_that_wants_all_memory_gets_what_it_is_allowed(name: str, folder: Path) -> None:
    """The machine swaps until it stands still, or the kernel kills somebody else's process."""
    save_model(folder, hostile(name))
    outcome, peak = measured(*WORDS, "--memory-limit", "1G", *LONG)
    outcome.fails("memory")
    assert peak < 1100 * MIB
    assert not (folder / "out.h5").exists()


def test_a_model_that_never_ends_is_stopped(endless: Callable[..., Endless]) -> None:
    """Nothing in its own process can stop it: ONNX Runtime does not come back."""
    # On a busy machine the time may be up before the model is reached, which shows nothing.
    for seconds in (4, 16, 64, 256):
        run = endless("--timeout", str(seconds))
        reached = run.is_in_model()
        run.finish().fails(f"stopped after {seconds} seconds (--timeout); what is finished is kept")
        assert len(run.pids) == 2 or not reached
        assert not [pid for pid in run.pids if Path(f"/proc/{pid}").exists()]
        if reached:
            return
    pytest.fail("the model was not reached")


@pytest.mark.parametrize(
    ("number", "limits"),
    [
        (signal.SIGINT, LONG),
        (signal.SIGTERM, ()),
        pytest.param(signal.SIGINT, (), marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, LONG, marks=pytest.mark.slow),
    ],
)
def test_a_model_that_never_ends_can_be_interrupted(
    number: signal.Signals, limits: tuple[str, ...], endless: Callable[..., Endless]
) -> None:
    """Python hears of a signal when native code comes back, which here is never."""
    run = endless(*limits)
    assert run.is_in_model()
    run.process.send_signal(number)
    run.finish().fails("what is finished is kept", code=128 + number)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (signal.SIGSEGV, "a library crashed on its input (SIGSEGV)"),
        pytest.param(signal.SIGKILL, "killed, as the system does", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_dies_is_spoken_for(
    number: signal.Signals, says: str, endless: Callable[..., Endless]
) -> None:
    """A shell says `Segmentation fault`, or nothing, and nobody knows what to do."""
    run = endless(*LONG)
    assert run.is_in_model()
    (child,) = set(run.pids) - {run.process.pid}
    os.kill(child, number)
    run.finish().fails(says)


def test_a_run_within_its_limits_is_the_same(folder: Path) -> None:
    """The other process writes elsewhere, or with other options."""
    save_wide(folder)
    in_subprocess(*WORDS).succeeds()
    (folder / "out.h5").rename(folder / "undisturbed.h5")
    outcome = in_subprocess(*WORDS, *LONG, "--memory-limit", "4G")
    outcome.succeeds()
    assert "SIS" in outcome.out
    assert_same(folder / "undisturbed.h5", folder / "out.h5")
    assert_nothing_left(folder / "out.h5")


@pytest.mark.usefixtures("folder")
def test_exit_statuses_come_through() -> None:
    """Scripts are told that all went well, or of another kind of failure."""
    in_subprocess("inspect", "none.onnx", *LONG).fails("does not exist")
    in_subprocess(*WORDS, "--bands", "1", *LONG).fails("bands must be", code=2)
    in_subprocess("show", "none.h5", *LONG).fails("does not exist")
    in_subprocess("show", "none.h5", "--memory-limit", "20M").fails("give more", code=2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--timeout", "0"), "the timeout must be above 0"),
        (("--timeout", "nan"), "the timeout must be above 0"),
        (("--timeout", "inf"), "the timeout must be above 0"),
        (("--memory-limit", "0"), "is not a size"),
        (("--memory-limit", "4 elephants"), "is not a size"),
        (("--memory-limit", "-1G"), "is not a size"),
    ],
)
def test_limits_that_are_none(words: tuple[str, ...], says: str, folder: Path) -> None:
    """A limit that is misread is no limit."""
    outcome = in_process(*WORDS, *words)
    assert outcome.code == 2
    assert says in outcome.err
    assert sorted(path.name for path in folder.iterdir()) == ["images.npz", "model.onnx"]


def test_no_code_is_taken_from_the_working_directory(folder: Path) -> None:
    """Python looks there first for what it imports, and people change to where the files are."""
    in_process(*WORDS).succeeds()
    trap = "import pathlib; pathlib.Path('sprung').touch()\n"
    for name in ("iaside_onnx", "json", "signal", "numpy", "h5py"):
        (folder / f"{name}.py").write_text(trap)
    in_process("verify", "out.h5").succeeds()
    limited = f"import sys; sys.argv = {['iaside', 'show', 'out.h5', *LONG]!r}; "
    words = [sys.executable, "-P", "-c", limited + "from iaside_onnx.cli import main; main()"]
    subprocess.run(words, check=True, capture_output=True)
    assert not (folder / "sprung").exists()
    # The trap would be sprung, or this would show nothing.
    subprocess.run([sys.executable, "-c", "import signal, h5py"], check=False, capture_output=True)
    assert (folder / "sprung").exists()


def test_the_limit_is_on_what_models_take_not_on_files(folder: Path) -> None:
    """Images that are mapped from a file count as memory, and large data sets are refused."""
    images = np.lib.format.open_memmap(
        folder / "large.npy", mode="w+", dtype=np.uint8, shape=(3000, 1000, 1000)
    )
    images[:6, :8, :8] = pixels()
    del images
    outcome, peak = measured(
        "decompose", "model.onnx", "--images", "large.npy", "--labels", "predicted", "--limit", "6",
        "--bands", "3", "-o", "out.h5", "--memory-limit", "2G",
    )  # fmt: skip
    assert peak < 2100 * MIB
    outcome.succeeds()

"""A network folder without locks: the user is told, and two runs are still kept apart."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support.bad_case import save_wide
from tests.support.command import PATIENCE, Outcome, in_process
from tests.support.comparing import assert_nothing_left, assert_same

# The kernel itself answers, as it does for such file systems: a seccomp filter makes flock (73 on
# x86-64) fail with ENOLCK (37).
_DRIVER = """
import ctypes, sys

class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8),
                ("k", ctypes.c_uint32)]

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(Instruction))]

steps = (Instruction * 4)(
    (0x20, 0, 0, 0), (0x15, 0, 1, 73), (0x06, 0, 0, 0x50000 | 37), (0x06, 0, 0, 0x7FFF0000)
)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
if libc.prctl(22, 2, ctypes.byref(Program(4, steps)), 0, 0):
    sys.exit(77)
{hook}
from iaside_onnx.cli import main
main()
"""
# The process stops itself once the first shard has its name.
_STOP = """
import os, signal
from pathlib import Path
replace = Path.replace
def spy(self, target):
    replace(self, target)
    if target.name.startswith("shard-"):
        os.kill(os.getpid(), signal.SIGSTOP)
Path.replace = spy
"""
WORDS = ("decompose", "model.onnx", "--images", "images.npz", "--bands", "10", "-o", "out.h5")
OWNER = Path("out.h5.work") / "lock.owner"
_BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")
BOOT = _BOOT_FILE.read_text().strip() if _BOOT_FILE.exists() else ""


def start(words: Sequence[str] = WORDS, hook: str = "") -> subprocess.Popen[str]:
    words = [sys.executable, "-c", _DRIVER.replace("{hook}", hook), *words]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*words: str) -> Outcome:
    with start(words or WORDS) as process:
        out, err = process.communicate(timeout=PATIENCE)
    if process.returncode == 77:
        pytest.skip("seccomp filters are not allowed here")
    return Outcome(process.returncode, out, err)


pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="the filter is for x86-64"
)


@pytest.fixture
def undisturbed(folder: Path) -> Path:
    save_wide(folder, 24)
    output = folder / "undisturbed.h5"
    in_process(*WORDS[:-1], output).succeeds()
    return output


def test_a_run_says_that_there_are_no_locks_and_is_the_same(
    undisturbed: Path, folder: Path
) -> None:
    """It fails where people keep their data, or goes on as if it were alone."""
    outcome = run()
    outcome.succeeds()
    assert "has no locks; lock.owner keeps other runs out" in outcome.err
    assert_same(undisturbed, folder / "out.h5")
    assert_nothing_left(folder / "out.h5")


def test_an_archive_and_arrays_are_read(undisturbed: Path, folder: Path) -> None:
    """HDF5 locks for itself, and nothing can be read where that fails."""
    with h5py.File(folder / "images.h5", "w") as file:
        file["images"] = np.load("images.npz")["images"]
    for words in (
        ("show", undisturbed.name),
        ("verify", undisturbed.name),
        ("decompose", "model.onnx", "--images", "images.h5", "--labels", "predicted",
         "-o", "other.h5", "--bands", "3"),
    ):  # fmt: skip
        run(*words).succeeds()


def test_two_runs_are_kept_apart_and_a_dead_one_is_taken_over(
    undisturbed: Path, folder: Path
) -> None:
    """Shards of two runs in one folder; or a file that a killed run leaves stops all others."""
    with start(hook=_STOP) as first:
        os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        refused = run()
        refused.fails(f"process {first.pid} on {platform.node()} is writing this output")
        first.kill()
        first.communicate()
    assert OWNER.exists()
    outcome = run()
    outcome.succeeds()
    assert f"the run of process {first.pid} on {platform.node()} was killed" in outcome.err
    assert "are finished already" in outcome.err
    assert_same(undisturbed, folder / "out.h5")
    assert_nothing_left(folder / "out.h5")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            json.dumps({"host": "another", "pid": 1, "boot": ""}),
            "process 1 on another is writing",
        ),
        pytest.param(
            json.dumps(
                {"host": platform.node(), "pid": 2**22, "boot": BOOT, "namespace": "pid:[1]"}
            ),
            f"process {2**22} on {platform.node()} is writing",
            marks=pytest.mark.slow,
        ),
        pytest.param("", "another process is writing", marks=pytest.mark.slow),
        pytest.param("[1, 2]", "another process is writing", marks=pytest.mark.slow),
    ],
    ids=["another machine", "another container", "empty", "something else"],
)
def test_a_process_that_may_be_alive_keeps_others_out(
    text: str, says: str, undisturbed: Path, folder: Path
) -> None:
    """A run elsewhere is overwritten by this one; or the message does not say what to delete."""
    OWNER.parent.mkdir()
    OWNER.write_text(text)
    run().fails(says, f"if it is known to be dead, delete {OWNER}")
    assert OWNER.read_text() == text
    OWNER.unlink()
    run().succeeds()
    assert_same(undisturbed, folder / "out.h5")


def test_a_file_from_before_the_machine_restarted_is_replaced(
    undisturbed: Path, folder: Path
) -> None:
    """The number of its process may now be that of another one, which would keep runs out."""
    OWNER.parent.mkdir()
    OWNER.write_text(json.dumps({"host": platform.node(), "pid": 1, "boot": "another"}))
    run().succeeds()
    assert_same(undisturbed, folder / "out.h5")

"""What strangers' models do to time and memory, and what stops them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults.bad_case import Case, pixels, save_model, save_wide
from tests.faults.bad_graphs import HOSTILE, hostile
from tests.faults.command import Outcome, command, in_process, in_subprocess
from tests.faults.comparing import assert_nothing_left, assert_same

MIB = 1 << 20
ENDLESS = "a loop without end"
WORDS = tuple(Case("good", "").words)


def measured(*words: str) -> tuple[Outcome, int, float]:
    """What a command said, the most memory that any of its processes held, and its seconds."""
    begun = time.monotonic()
    with Path("said").open("w") as said, Path("out").open("w") as out:
        process = subprocess.Popen(command(*words), stdout=out, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - begun
    outcome = Outcome(process.returncode, Path("out").read_text(), Path("said").read_text())
    return outcome, used.ru_maxrss << 10, seconds


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != ENDLESS])
def test_a_model_that_wants_all_memory_gets_what_it_is_allowed(name: str, folder: Path) -> None:
    """The machine swaps until it stands still, or the kernel kills somebody else's process."""
    save_model(folder, hostile(name))
    outcome, peak, _ = measured(*WORDS, "--memory-limit", "1G", "--timeout", "100")
    outcome.fails("memory")
    assert peak < 1100 * MIB
    assert not (folder / "out.h5").exists()


def test_a_model_that_never_ends_is_stopped(folder: Path) -> None:
    """Nothing in its own process can stop it: ONNX Runtime does not come back."""
    save_model(folder, hostile(ENDLESS))
    outcome, _, seconds = measured(*WORDS, "--timeout", "4")
    outcome.fails("stopped after 4 seconds (--timeout); what is finished is kept")
    # Of which some are for starting Python twice.
    assert seconds < 30
    assert not subprocess.run(["pgrep", "-f", str(folder)], capture_output=True).stdout


@pytest.mark.parametrize("limits", [(), ("--timeout", "100")], ids=["alone", "with a limit"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_model_that_never_ends_can_be_interrupted(
    number: signal.Signals, limits: tuple[str, ...], folder: Path
) -> None:
    """Python hears of a signal when native code comes back, which here is never."""
    save_model(folder, hostile(ENDLESS))
    with subprocess.Popen(
        command(*WORDS, *limits), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        # Long enough to be inside of the model; a signal before that is heard as well.
        time.sleep(4)
        process.send_signal(number)
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    Outcome(process.returncode, out, err).fails("what is finished is kept", code=128 + number)


def test_a_run_within_its_limits_is_the_same(folder: Path) -> None:
    """The other process writes elsewhere, or with other options."""
    save_wide(folder)
    in_subprocess(*WORDS).succeeds()
    (folder / "out.h5").rename(folder / "undisturbed.h5")
    outcome = in_subprocess(*WORDS, "--timeout", "100", "--memory-limit", "4G")
    outcome.succeeds()
    assert "SIS" in outcome.out
    assert_same(folder / "undisturbed.h5", folder / "out.h5")
    assert_nothing_left(folder / "out.h5")


@pytest.mark.usefixtures("folder")
def test_exit_statuses_come_through() -> None:
    """Scripts are told that all went well, or of another kind of failure."""
    limits = ("--timeout", "100")
    in_subprocess("inspect", "none.onnx", *limits).fails("does not exist")
    in_subprocess(*WORDS, "--bands", "1", *limits).fails("bands must be", code=2)
    in_subprocess("show", "none.h5", *limits).fails("does not exist")
    in_subprocess("show", "none.h5", "--memory-limit", "20M").fails("give more", code=2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--timeout", "0"), "the timeout must be above 0"),
        (("--timeout", "nan"), "the timeout must be above 0"),
        (("--timeout", "inf"), "the timeout must be above 0"),
        (("--memory-limit", "0"), "is no size"),
        (("--memory-limit", "4 elephants"), "is no size"),
        (("--memory-limit", "-1G"), "is no size"),
    ],
)
def test_limits_that_are_none(words: tuple[str, ...], says: str, folder: Path) -> None:
    """A limit that is misread is no limit."""
    outcome = in_process(*WORDS, *words)
    assert outcome.code == 2
    assert says in outcome.err
    assert sorted(path.name for path in folder.iterdir()) == ["images.npz", "model.onnx"]


_CRASH = """
import os, signal, sys
from iaside_onnx.cli import main
def crash(*_, **__):
    os.kill(os.getpid(), signal.{signal})
sys.modules["iaside_onnx.cli.show"].open_archive = crash
main()
"""


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("SIGSEGV", "a library failed on what it was"),
        ("SIGKILL", "killed, as the system does"),
    ],
)
def test_a_process_that_dies_is_spoken_for(
    number: str, says: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell says `Segmentation fault`, or nothing, and nobody knows what to do."""
    script = _CRASH.format(signal=number)
    fake = folder / "python"
    fake.write_text(f'#!/bin/sh\nshift 3\nexec {sys.executable} -c "$CRASH" "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("CRASH", script)
    supervise = (
        "import sys; real = sys.executable; sys.executable = sys.argv.pop(1); "
        "from iaside_onnx.cli import main; main()"
    )
    words = [sys.executable, "-c", supervise, str(fake), "show", "model.onnx", "--timeout", "60"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    Outcome(done.returncode, done.stdout, done.stderr).fails(says)


def test_no_code_is_taken_from_the_working_directory(folder: Path) -> None:
    """Python looks there first for what it imports, and people change to where the files are."""
    in_process(*WORDS).succeeds()
    trap = "import pathlib; pathlib.Path('sprung').touch()\n"
    for name in ("iaside_onnx", "json", "signal", "numpy", "h5py"):
        (folder / f"{name}.py").write_text(trap)
    in_process("verify", "out.h5").succeeds()
    limited = f"import sys; sys.argv = {['iaside', 'show', 'out.h5', '--timeout', '100']!r}; "
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
    outcome, peak, _ = measured(
        "decompose", "model.onnx", "--images", "large.npy", "--labels", "predicted", "--limit", "6",
        "--bands", "3", "-o", "out.h5", "--memory-limit", "2G",
    )  # fmt: skip
    assert peak < 2100 * MIB
    outcome.succeeds()

"""What tests of whole runs share: the bundled inputs, the command line, processes, archives."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.support.command import CNN, MODELS, PATIENCE, PICTURES, Outcome, in_process

__all__ = [
    "CNN",
    "MODELS",
    "PATIENCE",
    "PICTURES",
    "ROOT",
    "assert_same_results",
    "bundled_pictures",
    "children_of",
    "is_running",
    "run_command",
    "run_here",
    "run_script",
    "start_command",
    "wait_until",
    "workers_of",
]

ROOT = MODELS.parent


def bundled_pictures(path: Path, start: int = 0, stop: int = 8) -> Path:
    """A file of some of the bundled images, with labels."""
    with np.load(PICTURES) as bundled:
        images, labels = bundled["images"][start:stop], bundled["labels"][start:stop]
    np.savez(path, images=images, labels=labels)
    return path


def assert_same_results(first: Path, second: Path) -> None:
    """Every dataset has the same type and values; read by h5py alone."""
    with h5py.File(first, "r") as a, h5py.File(second, "r") as b:
        assert sorted(a) == sorted(b)
        assert len(a) > 20
        for name in a:
            ours, theirs = np.asarray(a[name][()]), np.asarray(b[name][()])
            assert ours.dtype == theirs.dtype, name
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


def _environment() -> dict[str, str]:
    """As an installed package has it: found without the working directory."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "400"}


def run_script(text: str, folder: Path, *words: str, cwd: Path | None = None) -> Outcome:
    """Run a script that lies in a folder, in that folder or in another."""
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    return _run([sys.executable, str(script), *words], cwd or folder)


def run_command(*words: str | Path, folder: Path) -> Outcome:
    """Run ``iaside`` in a folder, which is not searched for modules, as with the installed one."""
    command = [sys.executable, "-P", "-m", "iaside_onnx", *map(str, words)]
    return _run(command, folder)


def run_here(*words: str | Path, folder: Path) -> Outcome:
    """Run ``iaside`` in this process, which is faster."""
    with contextlib.chdir(folder):
        return in_process(*words)


def _run(command: list[str], folder: Path) -> Outcome:
    done = subprocess.run(
        command, cwd=folder, env=_environment(), capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def start_command(*words: str | Path, folder: Path) -> subprocess.Popen[str]:
    """Start ``iaside`` as the leader of a group of processes, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "iaside_onnx", *map(str, words)],
        cwd=folder, env={**_environment(), "TMPDIR": str(folder)}, text=True,
        start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Whoever runs the tests in the background may have them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def children_of(pid: int) -> list[int]:
    """Processes that a process has started and that have not ended, from Linux's /proc."""
    every = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in every if _parent(child) == pid and is_running(child)]


def workers_of(pid: int) -> list[int]:
    """The worker processes of a process; Python's own tracker of resources is none of them."""
    return [child for child in children_of(pid) if b"spawn_main" in _read(child, "cmdline")]


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended; one that was not waited for has ended."""
    status = _status(pid)
    return status is not None and status[0] not in ("Z", "X")


def _parent(pid: int) -> int | None:
    status = _status(pid)
    return None if status is None else int(status[1])


def _status(pid: int) -> list[str] | None:
    # The name of the program, in brackets, may hold spaces.
    text = _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()
    return text or None


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def wait_until(happened: Callable[[], bool]) -> None:
    """Return as soon as it has happened; fail if it never does."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)

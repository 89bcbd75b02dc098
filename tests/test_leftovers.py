"""Temporary files of writers that were killed: the next run for the same output removes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iaside_onnx.files import finished_file, scratch_folder

# Writes half of a file, or of a folder, says so, and waits.
WRITER = """
import sys, time
from pathlib import Path
from iaside_onnx.files import finished_file, scratch_folder
with {make}(Path(sys.argv[1])) as temporary:
    (temporary / "half" if temporary.is_dir() else temporary).write_bytes(b"half")
    print(temporary, flush=True)
    time.sleep(600)
"""
BOTH = pytest.mark.parametrize("make", ["finished_file", "scratch_folder"])


@contextmanager
def writing(path: Path, make: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process in the middle of writing an output, and its temporary file."""
    words = [sys.executable, "-c", WRITER.format(make=make), str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def write(path: Path) -> None:
    with finished_file(path) as temporary:
        temporary.write_bytes(b"whole")


@BOTH
def test_the_next_writer_removes_what_a_killed_one_left(make: str, tmp_path: Path) -> None:
    """Each kill of a large conversion would leave its gigabytes in the user's folder for ever."""
    path = tmp_path / "out [1] *.csv"
    with writing(path, make) as (process, temporary):
        assert temporary.exists()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert temporary.exists()
        write(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"whole"


@BOTH
def test_a_living_writer_keeps_its_file(make: str, tmp_path: Path) -> None:
    """Two runs that write one output side by side would destroy each other's work."""
    path = tmp_path / "out.csv"
    with writing(path, make) as (process, temporary):
        write(path)
        with scratch_folder(path):
            pass
        assert process.poll() is None
        held = temporary / "half" if make == "scratch_folder" else temporary
        assert held.read_bytes() == b"half"


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    """A name that only looks like a leftover of this output is somebody's file."""
    digits = "0123456789abcdef"
    kept = [f".other.csv.{digits}.tmp", f".out.csv.{digits}.tmp.bak", ".out.csv.tmp",
            ".out.csv.0123.tmp", f"out.csv.{digits}.tmp", f".out.csv.{digits}.tmp2"]  # fmt: skip
    for name in kept:
        (tmp_path / name).write_bytes(b"somebody's")
    (tmp_path / "target").write_bytes(b"somebody's")
    (tmp_path / f".out.csv.{digits[::-1]}.tmp").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / f".out.csv.{'a' * 16}.tmp")
    before = sorted(p.name for p in tmp_path.iterdir())
    write(tmp_path / "out.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "out.csv"])


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    """A link that is replaced leaves its target stale, which others read."""
    target, link = tmp_path / "there" / "real.csv", tmp_path / "link.csv"
    target.parent.mkdir()
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"whole"
    assert [p.name for p in target.parent.iterdir()] == ["real.csv"]


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "n" * 230])
def test_the_longest_names_can_be_written(name: str, tmp_path: Path) -> None:
    """The temporary name is longer than the output's, and would not fit."""
    write(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with writing(tmp_path / name, "finished_file") as (process, _):
        process.kill()
        process.wait()
        write(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]

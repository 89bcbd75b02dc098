"""Disks that are full or read-only, on a small file system that the test mounts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bad_case import save_wide
from tests.support.command import Outcome, in_process
from tests.support.comparing import assert_nothing_left, assert_same

# 10 shards of 26 KiB, and an archive of 150 KiB.
WORDS = ("decompose", "model.onnx", "--images", "images.npz", "--bands", "10", "-o")


def _mount(options: str, place: Path) -> str:
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A file system of 96 KiB; the working directory has a model and images that outgrow it."""
    save_wide(folder)
    place = folder / "disk"
    place.mkdir()
    refused = _mount("size=96k", place)
    if refused:
        pytest.skip(f"cannot mount a small file system: {refused.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def run(output: Path) -> Outcome:
    return in_process(*WORDS, output)


@pytest.fixture
def undisturbed(folder: Path) -> Path:
    """The archive that a run without faults writes."""
    save_wide(folder)
    output = folder / "undisturbed.h5"
    run(output).succeeds()
    return output


def assert_finishes_with_room(disk: Path, undisturbed: Path, says: str) -> None:
    """The same command finishes once there is room, with an equal archive."""
    resize(disk, "8m")
    outcome = run(disk / "out.h5")
    outcome.succeeds()
    assert says in outcome.err
    assert_same(undisturbed, disk / "out.h5")
    assert_nothing_left(disk / "out.h5")


def test_shards_that_fill_the_disk_are_kept(disk: Path, undisturbed: Path) -> None:
    """A half-written shard that is taken for a whole one, or finished work thrown away."""
    output = disk / "out.h5"
    run(output).fails("No space left on device", "what is finished is kept")
    kept = {path: path.stat().st_mtime_ns for path in disk.glob("out.h5.work/shard-*.h5")}
    assert 0 < len(kept) < 10
    assert not list(disk.rglob("*.tmp"))
    resize(disk, "160k")
    run(output).fails("No space left on device")
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    assert_finishes_with_room(disk, undisturbed, "of 40 images are finished already")


def test_a_disk_that_is_full_for_the_archive_only(disk: Path, undisturbed: Path) -> None:
    """Work lost at the last step, or done again although every shard is there."""
    resize(disk, "340k")
    output = disk / "out.h5"
    run(output).fails("out.h5: the disk is full", "make room and run the same command again")
    assert len(list(disk.glob("out.h5.work/shard-*.h5"))) == 10
    assert not list(disk.rglob("*.tmp"))
    assert_finishes_with_room(disk, undisturbed, "40 of 40 images are finished already")


# The check for room is bypassed, so that HDF5 itself meets the full disk.
_DECEIVED = """
import shutil
from collections import namedtuple
shutil.disk_usage = lambda path: namedtuple("Usage", "free")(10**12)
from iaside_onnx.cli import main
main()
"""


def test_a_disk_that_fills_while_the_archive_is_written(disk: Path, undisturbed: Path) -> None:
    """HDF5 crashes, or reports success for a file that is not whole."""
    resize(disk, "340k")
    output = disk / "out.h5"
    words = [sys.executable, "-c", _DECEIVED, *WORDS, str(output)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    Outcome(done.returncode, done.stdout, done.stderr).fails("out.h5: cannot be written")
    assert not output.exists()
    assert not list(disk.rglob("*.tmp"))
    resize(disk, "8m")
    run(output).succeeds()
    assert_same(undisturbed, output)


def test_a_conversion_without_room_is_said(disk: Path, undisturbed: Path) -> None:
    """HDF5 crashes on a full disk, and the process with it."""
    for suffix in (".csv", ".json", ".parquet", ".nc"):
        words = ("convert", undisturbed, "-o", disk / f"out{suffix}", "--table", "worth")
        in_process(*words).fails("disk", "room") if suffix == ".nc" else in_process(*words).fails(
            "No space left on device"
        )
        assert not list(disk.iterdir())


def test_a_folder_that_cannot_be_written_is_said_at_once(disk: Path) -> None:
    """The whole evaluation is done before the first file is refused."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    outcome = run(disk / "out.h5")
    outcome.fails("out.h5", "Read-only file system")
    assert "evaluations/s" not in outcome.err


def test_a_finished_archive_needs_no_folder_to_write_in(disk: Path) -> None:
    """The same command again says that it is finished, also where nothing can be written."""
    resize(disk, "8m")
    run(disk / "out.h5").succeeds()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    outcome = run(disk / "out.h5")
    outcome.succeeds()
    assert "is already finished" in outcome.err

"""Files that are there whole or not at all, and locks."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from iaside_onnx.files import exclusive_lock, finished_file
from iaside_onnx.errors import ArchiveError, RunConflictError


@pytest.mark.parametrize("apart", [False, True])
def test_a_finished_file_is_synced_before_it_is_renamed_and_its_folder_after(
    apart: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves an empty file under the final name, or takes the name away again."""
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace

    def spy_sync(descriptor: int) -> None:
        steps.append("sync " + str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    folder = tmp_path / "apart"
    folder.mkdir()
    path = tmp_path / "a.h5"
    with finished_file(path, folder if apart else None) as temporary:
        temporary.write_bytes(b"whole")
        assert temporary.parent == (folder if apart else tmp_path)
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert steps == [f"sync {temporary}", "rename", f"sync {tmp_path}"]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_whatever_happens_the_old_file_stays_and_the_temporary_one_goes(
    stop: type[BaseException], tmp_path: Path
) -> None:
    """Ctrl-C leaves a folder of rubbish, or half of an archive under its final name."""
    path = tmp_path / "a.h5"
    path.write_bytes(b"old")

    def write_half() -> None:
        with finished_file(path) as temporary:
            temporary.write_bytes(b"half")
            raise stop

    with pytest.raises(stop):
        write_half()
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    assert path.read_bytes() == b"old"


def test_a_refusal_of_the_file_system_is_an_archive_error(tmp_path: Path) -> None:
    """A full disk would be a traceback."""
    with (
        pytest.raises(ArchiveError, match=r"a\.h5: cannot be written: No space left on device"),
        finished_file(tmp_path / "a.h5"),
    ):
        raise OSError(28, "No space left on device")
    with pytest.raises(ArchiveError, match="No such file"), finished_file(tmp_path / "no" / "a.h5"):
        pytest.fail("there is no folder to write in")
    assert not list(tmp_path.iterdir())


def test_a_finished_file_has_the_permissions_that_the_user_asks_for(tmp_path: Path) -> None:
    """Colleagues cannot read the archive, or everybody can."""
    before = os.umask(0o027)
    try:
        with finished_file(tmp_path / "a.h5") as temporary:
            temporary.write_bytes(b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a.h5").stat().st_mode & 0o777 == 0o640


def test_a_lock_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    """Two runs write the same shards."""
    path = tmp_path / "lock"
    with exclusive_lock(path):
        with pytest.raises(RunConflictError, match="another process"), exclusive_lock(path):
            pytest.fail("the lock is held")
        path.unlink()
    with exclusive_lock(path):
        assert path.exists()


def test_a_lock_on_a_deleted_file_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last holder deletes the file between our opening and locking it: two would get in."""
    path = tmp_path / "lock"
    real = fcntl.flock
    deleted: list[bool] = []

    def lock_late(descriptor: int, operation: int) -> None:
        if not deleted:
            path.unlink()
            deleted.append(True)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with exclusive_lock(path):
        assert path.exists()
        monkeypatch.undo()
        with pytest.raises(RunConflictError), exclusive_lock(path):
            pytest.fail("the lock is held")

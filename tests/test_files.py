"""Files that are written whole or not at all, and locks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from iaside_onnx.errors import ArchiveError, RunConflictError
from iaside_onnx.files import finished_file
from iaside_onnx.locks import exclusive_lock


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
        assert (temporary.parent if apart else temporary.parent.parent) == (
            folder if apart else tmp_path
        )
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


@pytest.mark.parametrize("way", ["deleted", "renamed"])
def test_a_lock_on_a_file_that_lost_its_name_is_not_held(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last holder deletes the file after it was opened here: two processes would write.

    Network file systems rename a file that is open elsewhere instead of deleting it.
    """
    path = tmp_path / "lock"
    lock = filelock.lock_descriptor
    calls: list[int] = []

    def lock_late(descriptor: int, *, blocking: bool) -> bool:
        if not calls:
            path.unlink() if way == "deleted" else path.rename(tmp_path / "elsewhere")
        calls.append(descriptor)
        return lock(descriptor, blocking=blocking)

    monkeypatch.setattr(filelock, "lock_descriptor", lock_late)
    with exclusive_lock(path):
        assert len(calls) == 2
        assert path.exists()
        assert locks_in_another_process(path) == "RunConflictError"


def locks_in_another_process(path: Path) -> str:
    """What another process meets that takes the lock: an error's name, or "held"."""
    script = (
        "import sys; from pathlib import Path; from iaside_onnx.locks import exclusive_lock\n"
        "try:\n    with exclusive_lock(Path(sys.argv[1])): print('held')\n"
        "except Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


# The child inherits every open file and lives until stdin is closed.
_FORKS = """
import os, sys
from pathlib import Path
from iaside_onnx.locks import exclusive_lock

path = Path(sys.argv[1])
with exclusive_lock(path):
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
with exclusive_lock(path):
    print("held again", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A worker or a server that a program started during the run refuses all later runs."""
    words = [sys.executable, "-c", _FORKS, str(tmp_path / "lock")]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held again\n"
        process.communicate()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """A run that was killed keeps the next one out."""
    path = tmp_path / "lock"
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from iaside_onnx.locks import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.exists()
    with exclusive_lock(path):
        pass


def test_an_error_about_an_archive_names_one_file(tmp_path: Path) -> None:
    """A damaged shard is reported as an output that cannot be written, as both are OSErrors."""
    damaged = ArchiveError("shard-3.h5: damaged shard")
    with pytest.raises(ArchiveError) as raised, finished_file(tmp_path / "a.h5"):
        raise damaged
    assert raised.value is damaged
    assert not list(tmp_path.iterdir())


def test_no_module_for_posix_alone_is_imported() -> None:
    """The package cannot be imported on Windows; or every command waits for the lock library."""
    script = (
        "import sys; sys.modules['fcntl'] = None; import iaside_onnx.cli\n"
        "print('filelock' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("False\n", "")

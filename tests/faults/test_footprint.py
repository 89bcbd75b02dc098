"""Which files a command touches: those that it was told to write, and no other."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.faults import bad_strangers
from tests.faults.bad_graphs import HOSTILE, hostile
from tests.support.bad_case import Case, save_wide
from tests.support.command import PATIENCE, command

State = dict[str, tuple[int, str]]

# Each is run in a folder with what those before have made; what it may make or change.
COMMANDS: dict[str, str] = {
    "decompose model.onnx --images images.npz -o a.h5 --bands 4 --profile p.json": "a.h5 p.json",
    "decompose model.onnx --images images.npz -o a.h5 --bands 4": "",
    "decompose model.onnx --images images.npz -o s.h5 --method sampled --budget 200": "s.h5",
    "decompose model.onnx --images more.npz -o b.h5 --bands 4 --timeout 7200": "b.h5",
    "extend s.h5 --budget 400": "s.h5",
    "inspect model.onnx --memory-limit 4G": "",
    "show a.h5": "",
    "show a.h5 --json": "",
    "verify a.h5": "",
    "verify s.h5 --sample 20": "",
    "merge a.h5 b.h5 -o c.h5": "c.h5",
    "convert a.h5 -o a.csv": "a.csv",
    "convert s.h5 -o s.json --table worth": "s.json",
    "convert a.h5 -o a.nc": "a.nc",
    "convert a.h5 -o a.parquet": "a.parquet",
    "report a.h5 b.h5 -o r.html --images images.npz": "r.html",
    "quantize model.onnx --images more.npz --to fp16 -o half.onnx": "half.onnx",
    "compare a.h5 a.h5 --margin phi=1 --junit j.xml --markdown m.md": "j.xml m.md",
    # And these fail.
    "decompose model.onnx --images images.npz -o a.h5 --bands 5": "",
    "decompose none.onnx --images images.npz -o d.h5": "",
    "extend a.h5 --budget 400": "",
    "merge a.h5 s.h5 -o d.h5": "",
    "convert a.h5 -o a.h5": "",
    "report a.h5 s.h5 -o q.html": "",
    "verify model.onnx": "",
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory, a home and a folder for temporary files, all that a command may see."""
    here = tmp_path / "here"
    for name in ("here", "home", "tmp"):
        (tmp_path / name).mkdir()
    save_wide(here)
    (here / "images.npz").rename(here / "more.npz")
    save_wide(here, 39)
    # Others, as no image may be in two archives that are merged.
    arrays = dict(np.load(here / "images.npz"))
    np.savez(here / "images.npz", **{**arrays, "images": 255 - arrays["images"]})
    return tmp_path


def state(root: Path) -> State:
    """Every file and folder with the time of its last change and a hash of its contents."""
    found: State = {}
    for path in root.rglob("*"):
        if path.is_symlink() or path.is_dir():
            found[str(path.relative_to(root))] = (0, "")
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(root))] = (path.stat().st_mtime_ns, digest)
    return found


def touched(root: Path, words: list[str]) -> tuple[set[str], int]:
    """What a command has made, changed or removed anywhere, and its exit status."""
    before = state(root)
    done = subprocess.run(
        command(*words), cwd=root / "here", capture_output=True, check=False, timeout=PATIENCE,
        env={**os.environ, "HOME": str(root / "home"), "TMPDIR": str(root / "tmp"),
             "XDG_CACHE_HOME": str(root / "home" / "cache"),
             "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    after = state(root)
    names = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    return names, done.returncode


# Those that are tried with every commit.
FEW = ("decompose model.onnx --images images.npz -o s.h5", "extend s.h5", "show", "verify s.h5",
       "convert s.h5", "decompose none")  # fmt: skip
SOME = [words for words in COMMANDS if words.startswith(FEW)]


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param([w for w in SOME if "a.h5" not in w], id="few"),
        pytest.param(list(COMMANDS), id="all", marks=pytest.mark.slow),
    ],
)
def test_commands_touch_what_they_are_told_to(commands: list[str], place: Path) -> None:
    """A cache, a temporary file or a lock that stays, or an input that is written to."""
    for words in commands:
        names, status = touched(place, words.split())
        assert names == {f"here/{name}" for name in COMMANDS[words].split()}, words
        assert (status == 0) == (list(COMMANDS).index(words) < 18), words


# Those that name other places.
_WORDS = ("tar: ", "weights", "link", "compiled")
STRANGERS = [case for case in bad_strangers.CASES if any(word in case.name for word in _WORDS)]


def _first_of_each(case: Case) -> bool:
    """Whether it is the first stranger that has its word."""
    word = next(word for word in _WORDS if word in case.name)
    return case is next(other for other in STRANGERS if word in other.name)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, id=c.name, marks=[] if _first_of_each(c) else pytest.mark.slow)
        for c in STRANGERS
    ],
)
def test_strangers_make_nothing(case: Case, place: Path) -> None:
    """A member of a tar file is unpacked, or a link followed to be written to."""
    case.make(place / "here")
    names, status = touched(place, case.words)
    assert (names, status) == (set(), 1)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if number == 0 else pytest.mark.slow)
        for number, name in enumerate(HOSTILE)
    ],
)
def test_what_is_stopped_by_a_limit_leaves_its_folder_of_work_at_most(
    name: str, place: Path
) -> None:
    """Core dumps, or temporary files of the process that was stopped."""
    (place / "here" / "model.onnx").write_bytes(hostile(name).SerializeToString())
    words = "decompose model.onnx --images small.npz -o a.h5 --bands 3 --timeout 5"
    np.savez(place / "here" / "small.npz", images=np.zeros((6, 8, 8), np.uint8), labels=range(6))
    names, status = touched(place, [*words.split(), "--memory-limit", "1G"])
    assert status == 1
    assert {name.split("/")[1] for name in names} <= {"a.h5.work"}

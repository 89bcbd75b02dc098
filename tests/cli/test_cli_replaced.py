"""What a command replaces, and what it leaves alone: looked at before any work is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from tests.support.command import CNN, PICTURES, Outcome, in_process

ARCHIVE = Path(__file__).parents[1] / "data" / "schema-1-exact.h5"
ELSE: dict[str, tuple[Callable[[Path], object], str]] = {
    "file": (lambda p: p.write_bytes(b"somebody's"), "was not made by iaside"),
    "pipe": (lambda p: os.mkfifo(p), "is a named pipe"),
    "folder": (lambda p: p.mkdir(), "is a folder"),
    "device": (lambda p: p.symlink_to("/dev/null"), "is a device"),
    "link": (lambda p: _link(p), "was not made by iaside"),
    "lost link": (lambda p: p.symlink_to("none/x"), "its folder does not exist"),
}  # fmt: skip
# Each command that writes, and the file that it writes; all with leave to replace.
COMMANDS: dict[str, tuple[list[str | Path], str]] = {
    "convert csv": (["convert", ARCHIVE, "-o", "x.csv"], "x.csv"),
    "convert json": (["convert", ARCHIVE, "-o", "x.json"], "x.json"),
    "convert parquet": (["convert", ARCHIVE, "-o", "x.parquet"], "x.parquet"),
    "convert netcdf": (["convert", ARCHIVE, "-o", "x.nc"], "x.nc"),
    "report": (["report", ARCHIVE, "-o", "x.html"], "x.html"),
    "merge": (["merge", ARCHIVE, ARCHIVE, "-o", "x.h5", "--overwrite"], "x.h5"),
    "decompose": (
        ["decompose", CNN, "--images", PICTURES, "-o", "x.h5", "--overwrite"],
        "x.h5",
    ),
    "profile": (
        ["decompose", CNN, "--images", PICTURES, "-o", "x.h5", "--profile", "p.json"],
        "p.json",
    ),
    "quantize": (
        ["quantize", CNN, "--images", PICTURES, "-o", "x.onnx", "--overwrite"],
        "x.onnx",
    ),
    "export": (
        ["export", "sklearn", "m:f", "--input-size", "1,8,8", "-o", "x.onnx", "--overwrite"],
        "x.onnx",
    ),
    "compare junit": (
        ["compare", ARCHIVE, ARCHIVE, "--margin", "phi=1", "--junit", "x.xml"],
        "x.xml",
    ),
    "compare markdown": (["compare", ARCHIVE, ARCHIVE, "--markdown", "x.md"], "x.md"),
    "demo": (["demo", "-o", "x.h5", "--overwrite"], "x.h5"),
    "demo page": (["demo", "-o", "x.h5", "--overwrite"], "x.html"),
}


def _found() -> dict[str, tuple[int, int, int, int]]:
    """What is in the folder, so that a replaced or written file differs."""
    stats = {path.name: path.lstat() for path in Path().iterdir()}
    return {n: (s.st_ino, s.st_mode, s.st_size, s.st_mtime_ns) for n, s in stats.items()}


def _link(path: Path) -> None:
    (path.parent / "target").write_bytes(b"somebody's")
    path.symlink_to("target")


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(outcome: Outcome, phrase: str) -> None:
    outcome.fails(phrase, code=outcome.code)
    assert outcome.code in (1, 2)


@pytest.mark.parametrize("what", ELSE)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_ours_is_left_alone(command: str, what: str) -> None:
    """A slip in a name would destroy somebody's file, or hang on a named pipe."""
    words, name = COMMANDS[command]
    make, phrase = ELSE[what]
    path = Path(name)
    make(path)
    before = _found()
    refused(in_process(*words), phrase)
    assert _found() == before


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (["--table", "bands"], [], "x.csv"),
        ([], ["--table", "worth"], "x.json"),
        ([], [], "x.parquet"),
        ([], [], "x.nc"),
    ],
)
def test_an_earlier_conversion_is_replaced(first: list[str], second: list[str], name: str) -> None:
    """The same script could not run twice."""
    in_process("convert", ARCHIVE, "-o", name, *first).succeeds()
    old = Path(name).stat().st_ino
    in_process("convert", ARCHIVE, "-o", name, *second).succeeds()
    assert Path(name).stat().st_ino != old
    Path(name).write_bytes(b"")
    in_process("convert", ARCHIVE, "-o", name).succeeds()


def test_an_archive_that_is_called_nc_is_no_conversion() -> None:
    """Hours of evaluation would be replaced by a table of another archive."""
    shutil.copy(ARCHIVE.with_name("schema-1-sampled.h5"), "x.nc")
    before = Path("x.nc").read_bytes()
    refused(in_process("convert", ARCHIVE, "-o", "x.nc"), "is an archive")
    assert Path("x.nc").read_bytes() == before


def test_a_data_set_is_no_archive() -> None:
    """HDF5 is a format of many; `--overwrite` is leave to replace an archive."""
    with h5py.File("x.h5", "w") as file:
        file["images"] = [1, 2, 3]
    refused(in_process(*COMMANDS["demo"][0]), "was not made by iaside")
    with h5py.File("x.h5") as file:
        assert file["images"][:].tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", [".", "x.html", "x.txt"])
def test_a_demo_needs_the_name_of_an_archive(name: str) -> None:
    """The page would be written over the archive, after all the work."""
    in_process("demo", "-o", name).fails(
        "the name of a" if name == "." else "end its name in .h5", code=2
    )
    assert not list(Path().iterdir())


def test_demos_of_two_models_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second would be refused, as the archive is that of another model."""
    asked: list[tuple[str, str, bool]] = []

    def decompose(model: Path, _: Path, out: Path, **options: object) -> None:
        asked.append((model.name, str(out), bool(options["overwrite"])))
        raise KeyboardInterrupt

    # What a demo computes is tested elsewhere; a minute for each name says no more.
    monkeypatch.setattr("iaside_onnx.decompose", decompose)
    for words in ([], ["--model", "fashion-vit"], ["--model", "fashion-cnn", "--overwrite"]):
        in_process("demo", *words)
    assert asked == [
        ("fashion-cnn.onnx", "demo.h5", False),
        ("fashion-vit.onnx", "demo-fashion-vit.h5", False),
        ("fashion-cnn.onnx", "demo-fashion-cnn.h5", True),
    ]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    """The link would become a file, and what it leads to would stay as it was."""
    (tmp_path / "there").mkdir()
    Path("link.csv").symlink_to(Path("there") / "x.csv")
    for _ in range(2):
        in_process("convert", ARCHIVE, "-o", "link.csv").succeeds()
    assert Path("link.csv").is_symlink()
    assert Path("there/x.csv").read_text().startswith('"image",')


def test_a_table_of_somebody_else_that_begins_like_ours_stays() -> None:
    """Somebody's notes beside the names of our images would be lost."""
    text = '"image","image_id","mynotes"\n1,a,precious\n'
    Path("x.csv").write_text(text)
    in_process("convert", ARCHIVE, "-o", "x.csv").fails("was not made by iaside", code=2)
    assert Path("x.csv").read_text() == text
    Path("x.csv").unlink()
    for table in ("worth", "contributions", "bands", "bands"):
        in_process("convert", ARCHIVE, "-o", "x.csv", "--table", table).succeeds()

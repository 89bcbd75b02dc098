"""A stdout or stderr that is closed or full, and errors of the system."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.command import command, in_process, in_subprocess

WORDS = ("decompose", "model.onnx", "--images", "images.npz", "--bands", "3", "-o", "out.h5")

pytestmark = pytest.mark.usefixtures("folder")


def shell(words: tuple[str, ...], redirect: str) -> subprocess.CompletedProcess[bytes]:
    line = f"{shlex.join(command(*words))} {redirect}"
    return subprocess.run(["bash", "-c", line], capture_output=True, check=False)


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", ">&- 2>&-"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (WORDS, 0),
        (("show", "none.h5"), 1),
        (("show",), 2),
        ((*WORDS, "--bands", "1"), 2),
        ((*WORDS, "--no-such-option"), 2),
    ],
)
def test_the_exit_code_does_not_depend_on_stderr(
    words: tuple[str, ...], code: int, redirect: str
) -> None:
    """Services start programs without one, and look at the exit code alone."""
    assert shell(words, redirect).returncode == code
    assert Path("out.h5").exists() == (code == 0)


def test_a_pipe_that_nobody_reads_ends_no_run() -> None:
    """`iaside ... 2>&1 | head -1` ends the run, without a word and without an archive."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(command(*WORDS), stdout=subprocess.PIPE, stderr=write_end, check=False)
    assert done.returncode == 0
    assert b"SIS" in done.stdout
    shown = subprocess.run(
        command("show", "out.h5"), stdout=write_end, stderr=subprocess.PIPE, check=False
    )
    os.close(write_end)
    # As other programs do before `head`.
    assert (shown.returncode, shown.stderr) == (1, b"")


def test_an_error_of_the_system_names_its_file() -> None:
    """That "the result cannot be printed" sends people to look at their terminal."""
    name = "x" * 300 + ".h5"
    outcome = in_subprocess("show", name)
    outcome.fails(f"{name}: cannot be read or written: File name too long; correct")
    if os.getuid():
        Path("closed").mkdir(mode=0)
        in_subprocess("show", "closed/a.h5").fails("closed/a.h5", "Permission denied")


LONG = "x" * 246


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*WORDS[:-1], f"{LONG}.h5"), "has 249 bytes"),
        ((*WORDS, "--profile", f"{LONG}.json"), "has 251 bytes"),
        (("demo", "-o", f"{LONG}.h5"), "has 249 bytes"),
        (("demo", "-o", "."), "is a folder"),
        (("demo", "-o", "x.html"), "end its name in .h5"),
        (("convert", "good.h5", "-o", f"{LONG}.csv"), "has 250 bytes"),
        (("merge", "good.h5", "good.h5", "-o", f"{LONG}.h5"), "has 249 bytes"),
        (("quantize", "model.onnx", "--to", "fp16", "-o", f"{LONG}.onnx"), "has 251 bytes"),
        ((*WORDS, "--profile", os.fsdecode(b"\xff.json")), "is not UTF-8"),
        ((*WORDS, "--labels", os.fsdecode(b"\xff.csv")), "is not UTF-8"),
    ],
)
def test_names_that_cannot_work_are_found_before_the_work(
    words: tuple[str, ...], says: str, folder: Path
) -> None:
    """The run ends after hours, and its result has no name."""
    in_process(*WORDS[:-1], "good.h5").succeeds()
    in_process(*words).fails(says, code=2)
    left = {path.name for path in folder.iterdir()}
    assert left == {"good.h5", "images.npz", "model.onnx"}


def test_the_longest_name_that_is_taken_works(folder: Path) -> None:
    """What stands beside the archive has a longer name."""
    name = "x" * 217 + ".h5"
    in_process(*WORDS[:-1], name).succeeds()
    in_process("convert", name, "-o", "y" * 216 + ".csv").succeeds()
    assert (folder / name).exists()


def test_demo_finds_a_page_that_is_not_ours_first(folder: Path) -> None:
    """It is refused after half a minute of work."""
    (folder / "d.html").write_text("mine")
    in_process("demo", "-o", "d.h5").fails("d.html: was not made by iaside")
    assert not (folder / "d.h5").exists()
    assert (folder / "d.html").read_text() == "mine"


@pytest.mark.parametrize("name", ["\x1b]0;owned\x07", "\nError: forged", "\u202etxt"], ids=ascii)
def test_names_in_results_and_usage_are_escaped(name: str) -> None:
    """A file name sets the title of the terminal, or forges a line of ours."""
    in_process(*WORDS).succeeds()
    made = in_process("convert", "out.h5", "-o", f"{name}.csv")
    made.succeeds()
    escaped = name.encode("unicode_escape").decode()
    assert made.out == f"{escaped}.csv\n"
    refused = in_process("show", f"--{name}")
    assert refused.code == 2
    assert name not in refused.err
    assert escaped in refused.err


@pytest.mark.slow
def test_the_last_line_of_demo_is_escaped() -> None:
    """Like every other name that is printed."""
    outcome = in_process("demo", "-o", "\x1b]0;owned\x07\udcff.h5")
    outcome.succeeds()
    assert "\x1b" not in outcome.out
    assert outcome.out.splitlines()[-1].startswith("archive    \\x1b]0;owned\\x07\\udcff.h5, page")
    assert "\\udcff" in Path("\x1b]0;owned\x07\udcff.html").read_text()

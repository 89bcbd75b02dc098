"""Groups of options in the help, environment variables, and how much is said."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import h5py
import pytest

from iaside_onnx.archive import open_archive
from iaside_onnx.cli import COMMANDS, iaside
from iaside_onnx.cli.commands import GROUPS
from tests.support.command import Outcome, in_process, in_subprocess

WORDS = ("decompose", "model.onnx", "--images", "images.npz", "-o", "out.h5")
CONTEXT = click.Context(iaside)


def command_of(name: str) -> click.Command:
    command = iaside.get_command(CONTEXT, name)
    assert command is not None
    return command


def headings(page: str) -> dict[str, set[str]]:
    """The options of a help page by the heading above them."""
    found: dict[str, set[str]] = {}
    heading = ""
    for line in page.splitlines():
        if re.fullmatch(r"[A-Z][a-z]+:", line):
            heading = line.rstrip(":")
        elif match := re.match(r"  (?:-\w, )?(--[\w-]+)", line):
            found.setdefault(heading, set()).add(match[1])
    return found


def test_the_many_options_of_decompose_are_in_groups() -> None:
    """Nobody finds one of forty options in one list; one that is in no group is found by nobody."""
    page = in_process("decompose", "--help")
    page.succeeds()
    found = headings(page.out)
    assert list(found) == list(GROUPS)
    assert {"--images", "--labels", "--limit"} <= found["Images"]
    assert {"--bands", "--method", "--seed"} <= found["Method"]
    assert {"--device", "--workers", "--timeout"} <= found["Hardware"]
    assert {"--out", "--json", "--quiet", "--help"} <= found["Output"]
    declared = {
        max(option.opts, key=len)
        for option in command_of("decompose").params
        if isinstance(option, click.Option) and not option.hidden
    }
    assert set.union(*found.values()) == {*declared, "--help"}


def test_few_options_are_in_one_list() -> None:
    """A heading for each option or two is longer than the list."""
    assert list(headings(in_process("merge", "--help").out)) == ["Options"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_how_environment_variables_are_named(name: str) -> None:
    """Whoever runs it in a container has to guess."""
    page = in_process(name, *(["sklearn"] if name == "export" else []), "--help")
    page.succeeds()
    whole = f"IASIDE_{name.upper()}_" + ("SKLEARN_" if name == "export" else "")
    assert whole in page.out
    assert "--verbose" in page.out


@pytest.mark.usefixtures("folder")
def test_environment_variables_are_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that the help names does nothing, or wins over the command line."""
    for name, value in {
        "BANDS": "4", "SEED": "7", "JSON": "1", "PIXEL_RANGE": "clip", "IMAGES": "images.npz",
        "LIMIT": "5",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"IASIDE_DECOMPOSE_{name}", value)
    outcome = in_process("decompose", "model.onnx", "-o", "out.h5", "--seed", "3")
    outcome.succeeds()
    assert outcome.out.startswith("{")
    given = open_archive("out.h5").metadata.options["given"]
    found = {name: given[name] for name in ("bands", "seed", "pixel_range", "limit")}
    assert found == {"bands": 4, "seed": 3, "pixel_range": "clip", "limit": 5}
    monkeypatch.setenv("IASIDE_DECOMPOSE_BANDS", "many")
    refused = in_process("decompose", "model.onnx", "-o", "out.h5")
    assert refused.code == 2
    assert "--bands" in refused.err


@pytest.mark.usefixtures("folder")
def test_quiet_runs_say_what_is_wrong_and_no_more() -> None:
    """Cron sends a message for each line; or warnings and errors are lost."""
    words = (*WORDS, "--bands", "3")
    quiet = in_process(*words, "-q")
    quiet.succeeds()
    assert [line for line in quiet.err.splitlines() if not line.startswith("Warning")] == []
    assert "at chance level" in quiet.err
    assert "SIS" in quiet.out
    in_process(*words, "-q", "--seed", "1").fails("seed (0 there, 1 now)")
    # The next command of this process is not quiet.
    assert "already finished" in in_process(*words).err


@pytest.mark.usefixtures("folder")
def test_verbose_runs_say_where_an_error_arose() -> None:
    """A bug report holds one sentence, and nobody knows what ONNX Runtime said."""
    Path("broken.onnx").write_bytes(b"no model")
    outcome = in_process("inspect", "broken.onnx", "-v")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert outcome.error.startswith("Error: ")
    in_process("inspect", "broken.onnx").fails("broken.onnx")


def show(*options: str) -> Outcome:
    with h5py.File("out.h5", "r+") as file:
        file["log_probability_whole"][:2] = [float("inf"), float("-inf")]
    return in_subprocess("show", "out.h5", *options)


@pytest.mark.usefixtures("folder")
def test_warnings_of_libraries_are_not_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of NumPy's source, for an archive that a stranger edited."""
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    in_process(*WORDS, "--bands", "3").succeeds()
    plain = show()
    plain.succeeds()
    assert [line for line in plain.err.splitlines() if "cannot be trusted" not in line] == []
    assert "RuntimeWarning" in show("-v").err
    assert "PYTHONWARNINGS" not in os.environ


def test_the_version_takes_no_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Containers set IASIDE_VERSION, and every command would print it, do nothing, and exit 0."""
    monkeypatch.setenv("IASIDE_VERSION", "1")
    in_process("show", tmp_path / "none.h5").fails("none.h5")

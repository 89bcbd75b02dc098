"""What commands print, and where: results on stdout, progress on stderr, JSON for machines."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx.cli import COMMANDS, iaside
from tests.support.command import MODELS, Outcome, in_process, in_subprocess

WORDS = ("decompose", "model.onnx", "--images", "images.npz", "--bands", "3", "-o")
BUNDLED = sorted(MODELS.glob("*.onnx"))
ARRAYS = ("phi", "phi_low", "phi_high", "psi", "psi_low", "psi_high", "band_low", "band_high")


def parsed(outcome: Outcome) -> dict[str, Any]:
    """Stdout as strict JSON: nothing before or after it, and no NaN, which JSON does not have."""
    outcome.succeeds()

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is not JSON")

    data = json.loads(outcome.out, parse_constant=refuse)
    assert isinstance(data, dict)
    return data


def examples(name: str) -> list[list[str]]:
    """The commands that the help page of a command shows."""
    page = in_process(*name.split(), "--help")
    page.succeeds()
    lines = page.out.split("Example:")[1].splitlines()
    return [shlex.split(line)[1:] for line in lines if line.strip().startswith("iaside ")]


CONTEXT = click.Context(iaside)


def command_of(group: click.Group, name: str) -> click.Command:
    """A command of a group, imported."""
    command = group.get_command(CONTEXT, name)
    assert command is not None
    return command


def parts_of(name: str) -> list[str]:
    """The commands of a group, or one empty name if it is no group."""
    command = command_of(iaside, name)
    return command.list_commands(CONTEXT) if isinstance(command, click.Group) else [""]


# Those of a group, such as `export torch`, in place of the group.
NAMES = [f"{name} {part}".strip() for name in COMMANDS for part in parts_of(name)]


def test_help_names_every_command() -> None:
    """A command that nobody finds."""
    page = in_process("--help")
    page.succeeds()
    listed = page.out.split("Commands:\n")[1].splitlines()
    assert [line.split(maxsplit=1) for line in listed] == [[*item] for item in COMMANDS.items()]
    modules = {path.stem for path in Path(iaside_onnx.cli.__file__).parent.glob("[a-z]*.py")}
    assert modules - COMMANDS.keys() == {
        "classes",
        "commands",
        "console",
        "interactions",
        "limits",
        "options",
        "signals",
    }
    version = in_process("--version")
    assert version.out == f"iaside, version {iaside_onnx.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_short_helps_are_those_of_the_commands(name: str) -> None:
    """The list of commands, which imports none of them, would say something else."""
    command = command_of(iaside, name)
    assert (command.name, command.short_help) == (name, COMMANDS[name])


@pytest.mark.parametrize("name", NAMES)
def test_help_has_an_example_that_parses(name: str) -> None:
    """The first thing that a new user types is refused."""
    found = examples(name)
    assert found
    for words in found:
        command: click.Command = iaside
        for part in name.split():
            assert isinstance(command, click.Group)
            assert words.pop(0) == part
            command = command_of(command, part)
        assert isinstance(command.make_context(name, words), click.Context)


def test_examples_run(folder: Path) -> None:
    """An example that parses, and then fails on the files that it names."""
    (folder / "models").symlink_to(MODELS)
    for words in examples("inspect"):
        in_process(*words).succeeds()
    for words in examples("decompose"):
        in_process(*words, "--limit", "4", "--bands", "2").succeeds()


def test_progress_is_on_stderr_and_results_on_stdout(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`iaside decompose ... > table.txt` holds progress, or lacks results."""
    outcome = in_subprocess(*WORDS, "out.h5", cwd=folder)
    outcome.succeeds()
    for word in ("evaluations/s", "preprocessing:", "outputs:"):
        assert word in outcome.err
        assert word not in outcome.out
    for word in ("psi [95 %]", "SIS", "6 of 6", "model.onnx", "out.h5"):
        assert word in outcome.out
    # Bars are as long as there is room, and the subprocess has plenty.
    monkeypatch.setenv("COLUMNS", "400")
    shown = in_process("show", "out.h5")
    assert shown.err == ""
    assert shown.out.replace("\n", "") in outcome.out.replace("\n", "")


def test_json_of_decompose_show_and_the_library_agree(folder: Path) -> None:
    """Three answers to one question."""
    made = parsed(in_process(*WORDS, "out.h5", "--json"))
    assert parsed(in_process("show", "out.h5", "--json")) == made
    archive = iaside_onnx.decompose(
        folder / "model.onnx", folder / "images.npz", folder / "api.h5", bands=3
    )
    assert made["sis"] == float(archive["sis"])
    for name in ARRAYS:
        assert [band[name] for band in made["bands"]] == archive[name].tolist(), name
    assert made["accuracy"] == archive.metadata.accuracy
    assert made["images_done"] == archive["image"].size == 6
    assert made["model_sha256"] == archive.metadata.model_sha256
    assert made["options"]["resolved"] == archive.metadata.options["resolved"]
    again = iaside_onnx.open_archive(folder / "out.h5")
    np.testing.assert_array_equal(again["worth"], archive["worth"])
    several = parsed(in_process("show", "out.h5", "api.h5", "--json"))
    assert [one["sis"] for one in several["archives"]] == [made["sis"]] * 2


@pytest.mark.usefixtures("folder")
def test_what_is_not_defined_is_null() -> None:
    """One image has no interval and its own answers no accuracy: NaN is not JSON."""
    words = (*WORDS, "out.h5", "--limit", "1", "--labels", "predicted")
    made = parsed(in_process(*words, "--json"))
    assert made["accuracy"] is None
    assert made["sis_low"] is made["sis_high"] is None
    assert all(band["phi_low"] is None for band in made["bands"])
    assert all(math.isfinite(band["phi"]) for band in made["bands"])
    shown = in_process("show", "out.h5")
    shown.succeeds()
    assert "undefined" in shown.out
    assert "labels are the model's own answers" in shown.out


@pytest.mark.parametrize("model", BUNDLED, ids=lambda path: path.stem)
def test_inspect_knows_each_bundled_model(model: Path) -> None:
    """A bundled model that the tool itself does not understand."""
    found = parsed(in_process("inspect", model, "--json"))
    data = model.read_bytes()
    assert found["sha256"] == hashlib.sha256(data).hexdigest()
    assert found["bytes"] >= len(data)
    assert found["classes"] == 10
    assert found["output_kind"] in ("logits", "probabilities", "log-probabilities")
    assert found["preprocess"]["input_size"] == [1, 28, 28]
    assert found["channels"] == 1
    assert found["layout"] == ("NHWC" if "keras" in found["producer"].lower() else found["layout"])
    shown = in_process("inspect", model)
    shown.succeeds()
    assert found["sha256"] in shown.out
    assert f"{found['classes']} classes, {found['output_kind']}" in shown.out


def test_demo_runs_from_anywhere(tmp_path: Path) -> None:
    """The first command of the README fails outside of a checkout, or prints what is no JSON."""
    outcome = in_subprocess("demo", "--json", cwd=tmp_path)
    made = parsed(outcome)
    assert made["images_done"] == made["images_asked"] == 1000
    assert made["accuracy"] > 0.8
    assert "evaluations/s" in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.h5", "demo.html"]
    again = in_subprocess("demo", cwd=tmp_path)
    again.succeeds()
    assert "demo.h5 is already finished" in again.err
    assert "iaside show demo.h5" in again.out
    for words in examples("show"):
        shown = in_subprocess(*words, cwd=tmp_path)
        shown.succeeds()
        assert f"{made['sis']:.3f}" in shown.out

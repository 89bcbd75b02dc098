"""Options that several commands share, and the old words of options that were renamed."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx import Options, open_archive
from iaside_onnx.cli import COMMANDS, iaside
from iaside_onnx.runs import DEFAULT_BUDGET
from tests.support.command import in_process, in_subprocess

WORDS = ("decompose", "model.onnx", "--images", "images.npz", "--bands", "3", "-o", "out.h5")
CONTEXT = click.Context(iaside)


def options_of(name: str) -> dict[str, click.Option]:
    """The options of a command by parameter name."""
    command = iaside.get_command(CONTEXT, name)
    assert command is not None
    return {o.name: o for o in command.params if isinstance(o, click.Option) and o.name is not None}


def warned(error: str) -> list[str]:
    """The warnings of old words."""
    return [line for line in error.splitlines() if line.endswith("the old word still works")]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("old", "new", "warning", "attribute"),
    [
        ("--range clip", "--pixel-range clip", "--range is now --pixel-range", "pixel_range"),
        ("--range=clip", "--pixel-range clip", "--range is now --pixel-range", "pixel_range"),
        ("--output scores", "--output-name scores", "--output is now --output-name", "output_name"),
        (
            "--about images",
            "--inference sample",
            "--about is now --inference, here --inference sample",
            "inference",
        ),
        (
            "--about population",
            "--inference population",
            "--about is now --inference",
            "inference",
        ),
    ],
)
def test_an_old_word_does_what_the_new_one_does(
    old: str, new: str, warning: str, attribute: str
) -> None:
    """Scripts that were written before the option was renamed fail, or do something else."""
    run = in_process(*WORDS, *old.split())
    run.succeeds()
    assert warned(run.err) == [f"Warning: {warning}; the old word still works"]
    given = open_archive("out.h5").metadata.options["given"]
    assert given[attribute] == new.split()[1]
    # The same run, so it is found finished.
    again = in_process(*WORDS, *new.split())
    again.succeeds()
    assert "out.h5 is already finished" in again.err
    assert warned(again.err) == []


@pytest.mark.usefixtures("folder")
def test_an_old_word_beside_the_new_one_is_wrong_usage() -> None:
    """One of the two would be dropped without a word."""
    outcome = in_process(*WORDS, "--range", "clip", "--pixel-range", "minmax")
    assert outcome.code == 2
    assert "--range is the old word for --pixel-range: give one of them" in outcome.err


@pytest.mark.usefixtures("folder")
def test_a_supervised_command_warns_once() -> None:
    """The command line is parsed by two processes."""
    outcome = in_subprocess("inspect", "model.onnx", "--output", "scores", "--timeout", "100")
    outcome.succeeds()
    assert len(warned(outcome.err)) == 1


@pytest.mark.parametrize("name", ["decompose", "inspect", "quantize"])
def test_old_words_are_not_in_the_help(name: str) -> None:
    """New users learn words that will go."""
    page = in_process(name, "--help")
    page.succeeds()
    assert " --output-name NAME " in page.out
    for old in ("--output ", "--range", "--about"):
        assert old not in page.out.replace("--pixel-range", "")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("export", "inspect")])
def test_the_file_to_write_has_a_long_name(name: str) -> None:
    """`-o` in a script says nothing; `--output` means something else."""
    flags = {flag for option in options_of(name).values() for flag in option.opts}
    assert ("-o" in flags) == ("--out" in flags)
    assert ("--out" in flags) == (name not in ("compare", "extend", "show", "verify"))


@pytest.mark.parametrize("words", [WORDS[:4] + WORDS[-2:], ("inspect", "model.onnx")])
def test_defaults_are_those_of_the_library(words: tuple[str, ...]) -> None:
    """The command line and Python would do different things with the same words."""
    name, *rest = words
    command = iaside.get_command(CONTEXT, name)
    assert command is not None
    found = command.make_context(name, rest).params
    for field in dataclasses.fields(Options):
        if field.name in found:
            assert found[field.name] == field.default, field.name
    assert {"device", "output_name"} <= found.keys()


def test_help_tells_the_default_budget() -> None:
    """The number is written down twice, so that the help needs no import of the library."""
    assert f"{DEFAULT_BUDGET:,}" in str(options_of("extend")["budget"].help)


@pytest.mark.parametrize("name", ["extend", "verify"])
def test_moved_inputs_are_handed_on_only_if_given(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive whose labels have moved can neither be extended nor checked."""
    calls: list[dict[str, object]] = []

    def record(_: Path, **words: object) -> None:
        calls.append(words)
        raise iaside_onnx.IasideError("recorded")

    module = importlib.import_module(f"iaside_onnx.cli.{name}")
    monkeypatch.setattr(module, "run", record)
    moved = {"labels": "l.csv", "classes": "c.json", "preprocess": "keras:tf", "model": "m.onnx"}
    words = [word for key, value in moved.items() for word in (f"--{key}", value)]
    in_process(name, "a.h5", *words).fails("recorded")
    in_process(name, "a.h5").fails("recorded")
    assert {key: str(calls[0].get(key)) for key in moved} == moved
    assert calls[1].keys() <= {"progress", "timeout", "workers"}


def test_the_old_keyword_works_in_python(folder: Path) -> None:
    """Code that was written before the keyword was renamed fails, or has other intervals."""
    words: dict[str, Any] = {"bands": 3, "about": "images"}
    with pytest.warns(DeprecationWarning, match="is now `inference`"):
        old = iaside_onnx.decompose("model.onnx", "images.npz", folder / "old.h5", **words)
    new = iaside_onnx.decompose(
        "model.onnx", "images.npz", folder / "new.h5", bands=3, inference="sample"
    )
    assert old.metadata.options["resolved"] == new.metadata.options["resolved"]
    np.testing.assert_array_equal(old["phi_high"], new["phi_high"])

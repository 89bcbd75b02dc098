"""Messages name options as flags on the command line, and as keyword arguments in Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import iaside_onnx
from iaside_onnx import IasideError
from iaside_onnx.cli import COMMANDS, iaside
from iaside_onnx.cli.console import flag_of, printable
from tests.support.command import in_process

WORDS = ("decompose", "model.onnx", "--images", "images.npz", "--bands", "3", "-o", "out.h5")
CONTEXT = click.Context(iaside)
SOURCES = sorted(Path(iaside_onnx.__file__).parent.rglob("*.py"))


def commands(group: click.Group) -> Iterator[click.Command]:
    for name in group.list_commands(CONTEXT):
        command = group.get_command(CONTEXT, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command)
        else:
            yield command


OPTIONS = [
    option
    for command in commands(iaside)
    for option in command.params
    if isinstance(option, click.Option) and not option.hidden
]


def test_every_option_has_the_flag_of_its_keyword() -> None:
    """A message names an option that the command does not have."""
    assert COMMANDS
    for option in OPTIONS:
        assert option.name is not None
        assert flag_of(option.name) in option.opts


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        (
            "give `labels=FILE`, or `labels='predicted'`",
            "give --labels FILE, or --labels predicted",
        ),
        ("add `overwrite=True` to it", "add --overwrite to it"),
        ("give `input_size=(C, H, W)`", "give --input-size C,H,W"),
        ("take a smaller `batch_size=`", "take a smaller --batch-size"),
        ("check `provider_options=`", "check --provider-option"),
        ("`pip install 'a[b]'` and `KEY=VALUE`", "`pip install 'a[b]'` and `KEY=VALUE`"),
        ("`iaside decompose`: a=b", "`iaside decompose`: a=b"),
    ],
)
def test_keywords_are_printed_as_flags(message: str, printed: str) -> None:
    """Whoever types what the message says gets a syntax error."""
    assert printable(message) == printed


def test_no_message_of_the_library_names_a_flag() -> None:
    """Python has no `--overwrite`; and a keyword that no command has is no advice."""
    known = {option.name for option in OPTIONS}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        # The last names commands of a shell that bring a model to ONNX.
        if "cli" in path.parts or path.name in ("__main__.py", "foreign.py"):
            continue
        assert not re.findall(r"(?<![-`\w])--[a-z][a-z-]+", without_docstrings(text)), path
        assert {m[1] for m in re.finditer(r"[\"( ]`([a-z_]+)=[^`]*`", text)} <= known, path


def without_docstrings(text: str) -> str:
    return re.sub(r'""".*?"""', "", text, flags=re.DOTALL)


@pytest.mark.usefixtures("folder")
def test_one_error_in_both_languages() -> None:
    """The same failure, by the two ways to it."""
    in_process(*WORDS).succeeds()
    in_process(*WORDS, "--seed", "1").fails("or --overwrite to replace it")
    with pytest.raises(IasideError, match=r"or `overwrite=True` to replace it$"):
        iaside_onnx.decompose("model.onnx", "images.npz", "out.h5", bands=3, seed=1)

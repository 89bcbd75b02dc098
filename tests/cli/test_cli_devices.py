"""Options of devices, providers, batches and profiles on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iaside_onnx import open_archive
from tests.support.command import in_process

pytestmark = pytest.mark.usefixtures("folder")

CPU = "CPUExecutionProvider"
WORDS = ("decompose", "model.onnx", "--images", "images.npz", "--bands", "3", "-o", "out.h5")
DEVICES = (
    "--device", "--provider", "--provider-option", "--tf32", "--cuda-graph", "--allow-cpu-nodes",
)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--provider-option gpu_mem_limit", "'gpu_mem_limit' is not KEY=VALUE, such as"),
        ("--provider-option =5", "'=5' is not KEY=VALUE"),
        ("--provider-option a=1 --provider-option b", "'b' is not KEY=VALUE"),
        ("--batch-size many", "'many' is neither a whole number nor `auto`"),
        ("--batch-size 1.5", "'1.5' is neither"),
        ("--batch-size AUTO", "'AUTO' is neither"),
        ("--batch-size=-1", "batch size must be a whole number from 1 to"),
        ("--tf32 --device cpu", "not cpu: use --device cuda"),
        ("--cuda-graph --device cpu", "not cpu: use --device cuda"),
        (f"--tf32 --provider {CPU}", "not cpu: use --device cuda"),
    ],
)
def test_what_cannot_work_is_wrong_usage(options: str, said: str) -> None:
    """A traceback, or a run of hours with an option that did nothing."""
    in_process(*WORDS, *options.split()).fails(said, code=2)
    assert not Path("out.h5").exists()


@pytest.mark.parametrize(
    "options", ["--provider-option x", "--tf32 --device cpu", "--cuda-graph --device cpu"]
)
def test_inspect_refuses_the_same(options: str) -> None:
    """`inspect` says that a model runs as asked, and `decompose` that it does not."""
    in_process("inspect", "model.onnx", *options.split()).fails(code=2)


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("out.h5", "is an input or the output"),
        ("./model.onnx", "is an input or the output"),
        ("images.npz", "is an input or the output"),
        ("link.json", "is an input or the output"),
        ("spec.json", "is an input or the output"),
        ("labels.csv", "is an input or the output"),
        ("none/profile.json", "its folder does not exist"),
        ("dir", "is a folder"),
    ],
)
def test_a_profile_never_goes_over_something_else(profile: str, said: str, folder: Path) -> None:
    """The images are replaced by a few numbers about how long it took to read them."""
    (folder / "link.json").symlink_to("images.npz")
    (folder / "spec.json").write_text(json.dumps({"input_size": [1, 8, 8]}))
    (folder / "labels.csv").write_text("".join(f"{i},{i % 5}\n" for i in range(6)))
    (folder / "dir").mkdir()
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    options = ("--preprocess", "spec.json", "--labels", "labels.csv", "--profile", profile)
    in_process(*WORDS, *options).fails(profile.removeprefix("./"), said, code=2)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_provider_by_name_runs_and_is_recorded() -> None:
    """Nobody can tell from an archive what made its numbers."""
    words = ("--provider", CPU, "--provider-option", "key=a=b", "--provider-option", "other=")
    in_process(*WORDS, *words).succeeds()
    made = open_archive("out.h5").metadata
    assert (made.provider, made.device) == (CPU, "cpu")
    assert made.options["given"]["provider"] == CPU
    resolved = made.options["resolved"]
    assert resolved["provider"] == CPU
    assert resolved["provider_options"] == {"key": "a=b", "other": ""}


def test_other_options_of_the_provider_are_another_run() -> None:
    """An archive of other arithmetic is taken for the answer."""
    in_process(*WORDS, "--provider", CPU).succeeds()
    again = in_process(*WORDS, "--provider", CPU, "--provider-option", "key=1")
    again.fails('provider_options.key (null there, "1" now)')


def test_the_number_that_auto_found_is_recorded() -> None:
    """`auto` in an archive says nothing."""
    in_process(*WORDS, "--batch-size", "auto").succeeds()
    options = open_archive("out.h5").metadata.options
    assert options["given"]["batch_size"] == "auto"
    assert type(options["resolved"]["batch_size"]) is int


@pytest.mark.parametrize(
    ("name", "options"),
    [("decompose", (*DEVICES, "--batch-size", "--profile", "N|auto")), ("inspect", DEVICES)],
)
def test_help_lists_what_there_is(name: str, options: tuple[str, ...]) -> None:
    """An option that nobody finds."""
    page = in_process(name, "--help")
    page.succeeds()
    for option in options:
        assert f"{option} " in page.out

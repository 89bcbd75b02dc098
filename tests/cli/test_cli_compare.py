"""`iaside compare`: what it prints, how it exits, what it refuses."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iaside_onnx import compare, decompose, open_archive
from iaside_onnx.analysis import Gate, check_gates, series
from tests.support.command import CNN, MODELS, PICTURES, in_process
from tests.support.planted import planted

N = 100


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a reference, a good, a slightly worse and a bad archive."""
    folder = tmp_path_factory.mktemp("compared")
    decompose(CNN, PICTURES, folder / "made.h5", bands=3, limit=N, threads=1)
    for name, wrong in {"first": 0, "good": 0, "worse": 8, "bad": 40}.items():
        planted(folder / "made.h5", folder / f"{name}.h5", wrong=range(wrong))
    return folder


@pytest.fixture(autouse=True)
def _inside(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("good.h5", 0),
        ("bad.h5", 0),
        ("good.h5 --margin accuracy=0.1", 0),
        ("good.h5 --margin accuracy=0.1 --margin sis=0.1 --at-least agreement=0.9", 0),
        ("worse.h5 --margin accuracy=0.1", 1),
        ("worse.h5 --margin accuracy=0.1 --undecided fail", 1),
        ("worse.h5 --margin accuracy=0.1 --undecided pass", 0),
        ("bad.h5 --margin accuracy=0.1 --undecided pass", 1),
        ("good.h5 bad.h5 --margin accuracy=0.1", 1),
        ("good.h5 --margin sis=0.1 --at-least agreement=0.999", 1),
        ("--series good.h5 bad.h5 --at-least accuracy=0.5 --undecided pass", 0),
        ("--series good.h5 bad.h5 --at-least accuracy=0.8", 1),
    ],
)
def test_exit_codes_are_the_answer_to_a_script(words: str, code: int) -> None:
    """A bad model is shipped, or a good one is not."""
    found = in_process("compare", "first.h5", *words.split())
    assert found.code == code, found.err
    assert found.err == ""


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        ("first.h5", "at least two archives"),
        ("first.h5 good.h5 --margin acc=0.1", "--margin acc=0.1: there is no gate"),
        ("first.h5 good.h5 --at-least accuracy=90", "--at-least accuracy=90.0: its value is"),
        ("first.h5 good.h5 --at-least robustness.blur:1=0.5", "none of the given archives holds"),
        ("first.h5 good.h5 --junit j.xml", "give --margin NAME=X or --at-least NAME=X"),
        (
            "first.h5 good.h5 --margin phi=1 --junit j --markdown x/../j",
            "give --markdown another",
        ),
        ("first.h5 --series", "at least two archives"),
    ],
)
def test_wrong_usage_is_one_sentence(words: str, phrase: str) -> None:
    """A pipeline cannot tell a bad model from a misspelt gate."""
    in_process("compare", *words.split()).fails(phrase, code=2)


@pytest.mark.parametrize("words", ["first.h5 none.h5", "first.h5 .", "none --series"])
def test_what_is_no_archive_is_one_sentence(words: str) -> None:
    """Without ``--series`` a folder would be a file that cannot be read."""
    in_process("compare", *words.split()).fails("give an archive made by iaside")


def test_each_gate_is_printed(tmp_path: Path) -> None:
    """Exit 1, and nobody knows which gate, by how much, and what to do."""
    archives = ("first.h5", "worse.h5", "bad.h5")
    words = (*archives, "--margin", "accuracy=0.1", "--at-least", "agreement=0.4")
    files = ("--junit", tmp_path / "j.xml", "--markdown", tmp_path / "m.md")
    found = in_process("compare", *words, *files)
    assert found.code == 1
    *_, head, first, second, third, fourth = found.out.strip().splitlines()
    assert head == "4 gates: 2 hold, 1 fails, 1 undecided; intervals of 98 % over 2 comparisons"
    assert first.startswith("undecided  worse  margin accuracy=0.1     -0.080 [-0.")
    assert "images would tell, here are 100" in first
    assert second.startswith("holds      worse  at least agreement=0.4  0.920 [0.")
    assert third.startswith("fails      bad    margin accuracy=0.1     -0.400 [-0.")
    assert third.endswith("decide that a wider margin is good enough")
    assert fourth.startswith("holds      bad    at least agreement=0.4  0.600 [0.")
    assert (tmp_path / "j.xml").read_text().count("<failure") == 2
    assert "| undecided | worse |" in (tmp_path / "m.md").read_text()


def parsed(*words: str) -> dict[str, Any]:
    found = in_process("compare", *words, "--json")

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is not JSON")

    data = json.loads(found.out, parse_constant=refuse)
    assert isinstance(data, dict)
    return data


def test_json_holds_all_that_the_library_knows() -> None:
    """A dashboard lacks what the table shows."""
    words = ("first.h5", "worse.h5", "bad.h5", "--margin", "phi=0.5")
    data = parsed(*words)
    pairs = compare(*words[:3]).pairs
    (group,) = data["groups"]
    assert (group["baseline"], group["reference"]["archive"]) == ("zero", "first.h5")
    assert len(data["words"]) > 4
    assert group["ranking"] == ["first.h5", "worse.h5", "bad.h5"]
    for found, wanted in zip(group["pairs"], pairs, strict=True):
        fields = set(type(wanted).__dataclass_fields__) - {"game"}
        assert fields <= found.keys()
        assert wanted.accuracy is not None
        assert found["accuracy"]["difference"]["low"] == wanted.accuracy.difference.low
        assert found["accuracy"]["p_value"] == wanted.accuracy.p_value
        assert [band["high"] for band in found["phi"]] == wanted.game.phi_high.tolist()
        assert [band["value"] for band in found["psi"]] == wanted.game.psi.tolist()
        assert found["sis"]["low"] == wanted.game.sis_low
    answers = check_gates(compare(*words[:3]), [Gate("margin", "phi", 0.5)])
    for gate, answer in zip(data["gates"], answers, strict=True):
        assert (gate["answer"], gate["band"], gate["needed"]) == (
            answer.answer, answer.band, answer.needed,
        )  # fmt: skip
        assert gate["measured"]["low"] == answer.measured.low
        assert (gate["name"], gate["value"], gate["level"]) == ("phi", 0.5, 0.98)


def test_json_of_a_series() -> None:
    """Where it broke is known to the terminal only."""
    data = parsed("--series", "first.h5", "good.h5", "bad.h5")["series"]
    found = series(["first.h5", "good.h5", "bad.h5"])
    assert data["first_drop"] == {"archive": "bad.h5", "worse": ["accuracy"]}
    assert data["first_below"]["archive"] == "bad.h5"
    assert found.trend.accuracy is not None
    assert data["trend"]["accuracy"]["low"] == found.trend.accuracy.low
    assert len(data["trend"]["phi"]) == 3
    assert [step["archive"] for step in data["steps"]] == ["good.h5", "bad.h5"]
    assert parsed("--series", "first.h5", "good.h5")["series"]["first_drop"] is None


def test_a_folder_of_checkpoints(made: Path, tmp_path: Path) -> None:
    """A file that is left out in silence is a checkpoint that nobody looks at."""
    for name, source in {"e-2": "first", "e-10": "bad", "e-1": "good"}.items():
        shutil.copy(made / f"{source}.h5", tmp_path / f"{name}.h5")
    for k in range(5):
        (tmp_path / f"log-{k}.txt").write_text("x")
    found = in_process("compare", tmp_path, "--series", "--markdown", tmp_path / "m.md")
    found.succeeds()
    first, second, *_ = found.out.splitlines()
    assert first.startswith("e-10 is the first checkpoint that is certainly worse than the one")
    assert "the one before, e-2: accuracy -0.400 [" in first
    assert "certainly worse than the first, e-1: accuracy -0.400 [" in second
    assert found.err.strip().endswith(
        "5 that are no archives are left out: log-0.txt, log-1.txt, log-2.txt and 2 more"
    )
    text = (tmp_path / "m.md").read_text("utf-8")
    assert "- e-10 is the first checkpoint" in text
    assert "| e-10 | -0.400 " in text
    assert "| accuracy | -0.200 " in text


def test_images_that_one_lacks_are_named(tmp_path: Path) -> None:
    """A comparison over some of the images looks like one over all."""
    with np.load(PICTURES) as bundled:
        images, labels = bundled["images"], bundled["labels"]
    for name, rows in {"a": slice(0, 12), "b": slice(5, 13)}.items():
        np.savez(tmp_path / f"{name}.npz", images=images[rows], labels=labels[rows])
        decompose(CNN, tmp_path / f"{name}.npz", tmp_path / f"{name}.h5", bands=3, threads=1)
    found = in_process("compare", tmp_path / "a.h5", tmp_path / "b.h5")
    found.succeeds()
    first, second = found.err.splitlines()
    names = ", ".join(open_archive(tmp_path / "a.h5")["image_id"][:3])
    assert first.startswith("Warning: 5 of 12 images of ")
    assert first.endswith(f"and are left out: {names} and 2 more")
    assert second.startswith("Warning: 1 of 8 images of ")
    assert parsed(str(tmp_path / "a.h5"), str(tmp_path / "b.h5"))["groups"][0]["pairs"][0][
        "only_reference"
    ] == open_archive(tmp_path / "a.h5")["image_id"][:5].tolist()  # fmt: skip


def test_one_image_is_compared(tmp_path: Path) -> None:
    """The first thing that somebody tries is a traceback."""
    for name, model in {"a": "fashion-cnn", "b": "fashion-cnn-pgd"}.items():
        path = tmp_path / f"{name}.h5"
        decompose(MODELS / f"{model}.onnx", PICTURES, path, bands=3, limit=1, threads=1)
    words = (str(tmp_path / "a.h5"), str(tmp_path / "b.h5"), "--margin", "phi=1")
    found = in_process("compare", *words)
    assert found.code == 1
    assert "undecided" in found.out
    assert "[undefined]" in found.out
    assert parsed(*words)["groups"][0]["pairs"][0]["phi"][0]["low"] is None
    in_process("compare", "--series", *words[:2]).succeeds()


def test_two_baselines_are_ranked_side_by_side(tmp_path: Path) -> None:
    """The ranking changes with the baseline, and nobody sees it."""
    paths = []
    for baseline in ("zero", "mean"):
        for model in ("fashion-cnn", "fashion-cnn-pgd"):
            path = tmp_path / f"{model}-{baseline}.h5"
            decompose(
                MODELS / f"{model}.onnx", PICTURES, path, bands=3, limit=20, threads=1,
                baseline=baseline,
            )  # fmt: skip
            paths.append(path)
    found = in_process("compare", *paths)
    found.succeeds()
    lines = found.out.splitlines()
    place = next(k for k, line in enumerate(lines) if line.startswith("rank by SIS"))
    assert lines[place].split("  ")[-1].strip() == "baseline mean"
    opened = [open_archive(path) for path in paths]
    for group, column in ((opened[:2], 0), (opened[2:], 1)):
        ranked = sorted(group, key=lambda one: -float(one["sis"]))
        for row, archive in enumerate(ranked):
            cells = [cell for cell in lines[place + 2 + row].split("  ") if cell.strip()][1:]
            assert (
                cells[column].strip().startswith(f"{archive.path.stem} {float(archive['sis']):.3f}")
            )


def test_names_of_archives_are_text(made: Path, tmp_path: Path) -> None:
    """A file name sets the title of the terminal, or forges a line of ours."""
    name = "x\x1b]0;owned\x07\nError: forged" + os.fsdecode(b"\xff")
    path = Path(shutil.copy(made / "worse.h5", tmp_path / f"{name}.h5"))
    for words in ([], ["--json"], ["--series"]):
        found = in_process("compare", "first.h5", path, "--margin", "phi=1", *words)
        assert found.code == 0
        assert all(c.isprintable() or c == "\n" for c in found.out + found.err)
        assert "\nError: forged" not in found.out
    assert "x\\x1b]0;owned\\x07\\nError: forged" in found.out

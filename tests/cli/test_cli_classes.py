"""``iaside show --by class``: the table, its names, and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iaside_onnx import Archive, by_class, decompose
from tests.support.command import CNN, MODELS, PICTURES, in_process

NAMES = MODELS / "class_names.json"
ESCAPE = "\x1b]0;owned\x07\x1b[31m"
FORGED = "\nError: forged\r"


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return decompose(CNN, PICTURES, tmp_path_factory.mktemp("by") / "a.h5", bands=3, limit=100)


def test_the_table_has_every_class_and_number(
    hundred: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class is missing, has another's numbers, or lines break at 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    outcome = in_process("show", hundred.path, "--by", "class", "--classes", NAMES)
    outcome.succeeds()
    lines = outcome.out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("class"))
    table = lines[head + 2 : head + 12]
    names = json.loads(NAMES.read_text())
    for line, one in zip(table, by_class(hundred), strict=True):
        assert one.accuracy is not None
        assert line.split()[0] == str(one.index)
        assert names[one.index] in line
        for value in (*(one.accuracy.value, one.accuracy.low, one.accuracy.high),
                      *(one.sis, one.sis_low, one.sis_high), one.log_probability):  # fmt: skip
            assert f"{value:.3f}" in line
        assert f" {one.images}* " in line
        if one.confusions:
            answer, count = one.confusions[0]
            assert line.endswith(f"{names[answer]}: {count}")
    assert max(map(len, table)) <= 100
    assert "10 of 10 classes have fewer than 50 images (*)" in outcome.out
    first, last = table[0].split()[1], table[-1].split()[1]
    assert f"phi of {first}" in outcome.out
    assert f"phi of {last}" in outcome.out


def test_json_is_what_the_library_gives(hundred: Archive) -> None:
    """Two answers to one question."""
    outcome = in_process("show", hundred.path, "--by", "class", "--classes", NAMES, "--json")
    outcome.succeeds()
    data = json.loads(outcome.out)
    assert data["sis"] == float(hundred["sis"])
    found = by_class(hundred, NAMES)
    for row, one in zip(data["classes"], found, strict=True):
        assert one.accuracy is not None
        assert (row["class"], row["name"], row["images"]) == (one.index, one.name, one.images)
        assert row["few_images"] is True
        assert [row[f"accuracy{end}"] for end in ("", "_low", "_high")] == [
            one.accuracy.value, one.accuracy.low, one.accuracy.high]  # fmt: skip
        for name in ("sis", "sis_low", "sis_high", "log_probability"):
            assert row[name] == getattr(one, name)
        for name in ("phi", "phi_low", "phi_high"):
            assert row[name] == getattr(one, name).tolist()
    wrong = int((hundred["predicted"] != hundred["label"]).sum())
    assert sum(one["images"] for one in data["confusions"]) == wrong > 0
    assert data["confusions"][0]["label_name"] in json.loads(NAMES.read_text())


def test_one_image_a_class_and_own_answers(tmp_path: Path) -> None:
    """NaN is not JSON, and the table of a first try must not fail."""
    path = tmp_path / "own.h5"
    decompose(CNN, PICTURES, path, bands=2, limit=1, labels="predicted")
    outcome = in_process("show", path, "--by", "class", "--json")
    outcome.succeeds()
    (row,) = json.loads(outcome.out)["classes"]
    assert row["accuracy"] is row["accuracy_low"] is row["sis_low"] is row["name"] is None
    assert row["phi_low"] == [None, None]
    shown = in_process("show", path, "--by", "class")
    shown.succeeds()
    assert "accuracy [95 %]" not in shown.out
    assert "undefined" in shown.out
    assert "by mean log p" in shown.out


def test_hostile_names_are_escaped(hundred: Archive, tmp_path: Path) -> None:
    """A file of names sets the title of the terminal, or forges a line of ours."""
    path = tmp_path / "names.json"
    path.write_text(json.dumps([f"{i}{ESCAPE}{FORGED}[bold]" for i in range(10)]))
    outcome = in_process("show", hundred.path, "--by", "class", "--classes", path)
    outcome.succeeds()
    assert all(c.isprintable() or c == "\n" for c in outcome.out)
    assert "\nError: forged" not in outcome.out
    whole = in_process("show", hundred.path, "--by", "class", "--classes", path, "--json")
    assert json.loads(whole.out)["classes"][0]["name"].endswith(FORGED + "[bold]")


def test_wrong_words_are_one_sentence(hundred: Archive, tmp_path: Path) -> None:
    """Names are ignored without a word, or a broken file is a traceback below half a table."""
    alone = in_process("show", hundred.path, "--classes", NAMES)
    alone.fails("add --by class", code=2)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    outcome = in_process("show", hundred.path, "--by", "class", "--classes", broken)
    outcome.fails("broken.json")
    assert outcome.out == ""

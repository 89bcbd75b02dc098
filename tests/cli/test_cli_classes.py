"""``iaside show --by class``: the table, its names, and JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import pytest

from iaside_onnx import Archive, by_class, decompose
from iaside_onnx.archive import digest_of
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


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["Top", "Trouser"], ["names 2 of the 10 classes of these images"]),
        ({str(i): f"n{i}" for i in [*range(10), 99]},
         ["names class 99, but no image is of it, and it has 11 names"]),
        ({str(i): f"n{i}" for i in [*range(9), 99]},
         ["names 9 of the 10 classes of these images",
          "names class 99, but no image is of it, and it has 10 names"]),
        ({"coat": 3, **{f"n{i}": i for i in range(10)}},
         ["has several names for class 3: coat, n3"]),
        ([f"n{i}" for i in range(1000)], []),
        ({str(i): [f"n0{i}", f"thing {i}"] for i in range(10)}, []),
    ],
    ids=["few", "beyond", "few and beyond", "two for one", "a thousand", "synonyms"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["show", "report"])
def test_names_that_do_not_fit_are_a_warning(
    command: str, names: object, said: list[str], hundred: Archive, tmp_path: Path
) -> None:
    """Names of another data set are put beside these classes without a word."""
    path = tmp_path / "names.json"
    path.write_text(json.dumps(names))
    words: dict[str, list[str | Path]] = {
        "show": ["show", hundred.path, hundred.path, "--by", "class", "--json"],
        "report": ["report", hundred.path, "-o", tmp_path / "page.html"],
    }
    outcome = in_process(*words[command], "--classes", path)
    outcome.succeeds()
    warned = [line for line in outcome.err.splitlines() if line.startswith("Warning")]
    assert warned == [f"Warning: {path} {one}" for one in said]


def test_only_the_most_fragile_of_many_classes_are_printed(
    hundred: Archive, tmp_path: Path
) -> None:
    """A hundred photographs of a hundred classes push the score off the screen."""
    path = tmp_path / "many.h5"
    shutil.copy(hundred.path, path)
    with h5py.File(path, "r+") as file:
        file["label"][...] = range(100)
        file.attrs["digest"] = digest_of(file)
    outcome = in_process("show", path, "--by", "class")
    outcome.succeeds()
    lines = outcome.out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("class"))
    rows = lines[head + 2 : lines.index("", head)]
    wanted = [str(one.index) for one in by_class(path)[:30]]
    assert [row.split()[0] for row in rows] == wanted
    assert "70 classes that are less fragile are left out; --json has all" in outcome.out
    whole = in_process("show", path, "--by", "class", "--json")
    assert len(json.loads(whole.out)["classes"]) == 100

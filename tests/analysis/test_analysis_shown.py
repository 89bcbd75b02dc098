"""What Python prints of results, and their tables and sentences."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from iaside_onnx import Archive, compare, decompose, interactions, series
from tests.support.command import in_process
from tests.support.planted import planted
from tests.support.sampling import CNN, PICTURES


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three checkpoints of sixty images; the last gets forty wrong."""
    folder = tmp_path_factory.mktemp("shown")
    decompose(CNN, PICTURES, folder / "made.h5", bands=3, limit=60, threads=1)
    wrong = {"a": 0, "b": 1, "c": 40}
    return [
        planted(folder / "made.h5", folder / f"{name}.h5", wrong=range(n))
        for name, n in wrong.items()
    ]


def test_results_print_as_one_line(made: list[Path], bundled_archive: Archive) -> None:
    """`print(compare(...))` fills the screen with arrays."""
    found = compare(made[0], made[2])
    a, c = str(made[0]), str(made[2])
    assert repr(found) == f"<Comparison with {a}: 1 archive, baseline zero>"
    assert repr(found.groups[0]) == f"<Group with {a}: 1 archive, baseline zero>"
    assert repr(found.pairs[0]) == f"<Pair {c} minus {a}: 60 images, SIS +0.000, accuracy -0.667>"
    assert repr(series(made)) == f"<Series from {a}: 3 archives, first drop at {c}>"
    assert repr(series(made[:1] * 3)).endswith(": 3 archives, no certain drop>")
    assert repr(interactions(bundled_archive)) == (
        "<Interactions of 6 bands, means over 12 images>"
    )


def test_a_hostile_path_stays_on_its_line(made: list[Path], tmp_path: Path) -> None:
    """The name of a file moves the cursor of whoever prints the comparison."""
    other = planted(made[0], tmp_path / "a\n\x1b[31m.h5")
    assert repr(compare(other, made[0])).isprintable()
    assert repr(series([other, made[0]])).isprintable()


def test_sentences_are_those_of_the_command(made: list[Path]) -> None:
    """A script has to parse the output of `iaside compare` for its answer."""
    words = compare(made[0], made[2]).words
    assert words[0].startswith("c is less accurate than a: 0.333 against 1.000")
    done = in_process("compare", made[0], made[2], "--json")
    # The command names an option as a flag, Python as a keyword.
    assert json.loads(done.out)["words"][:-1] == words[:-1]
    assert "`baseline='mean'`" in words[-1]


def test_a_series_is_a_table(made: list[Path]) -> None:
    """A step would have the numbers of a change since the first."""
    pytest.importorskip("pandas")
    table = series(made).to_dataframe()
    rows = table[["against", "reference", "archive", "accuracy"]].to_numpy().tolist()
    a, b, c = map(str, made)
    wanted = [
        ("previous", a, b, -1 / 60), ("previous", b, c, -39 / 60),
        ("first", a, b, -1 / 60), ("first", a, c, -40 / 60),
    ]  # fmt: skip
    assert [tuple(row[:3]) for row in rows] == [row[:3] for row in wanted]
    np.testing.assert_allclose([row[3] for row in rows], [row[3] for row in wanted])
    assert (table["accuracy_low"] <= table["accuracy"]).all()


def test_interactions_are_a_table(bundled_archive: Archive) -> None:
    """A pair is missing, or has the interval of another."""
    pytest.importorskip("pandas")
    found = interactions(bundled_archive)
    table = found.to_dataframe()
    assert list(table.columns) == ["band", "other", "value", "low", "high"]
    pairs = set(zip(table["band"], table["other"], strict=True))
    assert pairs == set(combinations(range(6), 2))
    assert len(table) == 15
    for row in table.itertuples():
        i, j = int(row.band), int(row.other)
        assert (row.value, row.low, row.high) == (
            found.values[i, j], found.low[i, j], found.high[i, j])  # fmt: skip

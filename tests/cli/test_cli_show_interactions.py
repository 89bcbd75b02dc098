"""``iaside show --interactions``."""

from __future__ import annotations

import json

import numpy as np

from iaside_onnx import Archive, interactions
from tests.support.command import in_process, in_subprocess


def test_the_table_and_the_sentences_are_printed(table: Archive) -> None:
    """A mark where the interval holds 0, or a pair that is not the strongest, misleads."""
    found = interactions(table)
    plain = in_process("show", table.path)
    shown = in_process("show", table.path, "--interactions")
    shown.succeeds()
    assert shown.out.startswith(plain.out)
    lines = shown.out.removeprefix(plain.out).splitlines()
    start = next(i for i, line in enumerate(lines) if line.split() == ["band", *"012345"])
    for i, line in enumerate(lines[start + 2 : start + 8]):
        # The cell of a band with itself is empty.
        cells = line.split()[1:]
        assert len(cells) == 5
        for j, cell in zip([j for j in range(6) if j != i], cells, strict=True):
            assert abs(float(cell.rstrip("*")) - found.values[i, j]) <= 0.0005 + 1e-9
            certain = found.low[i, j] > 0 or found.high[i, j] < 0
            assert cell.endswith("*") == certain
    words = [line for line in lines if line.startswith("bands ")]
    assert 0 < len(words) <= 6
    # The largest of all is positive in this model.
    first, second = np.unravel_index(np.triu(found.values).argmax(), (6, 6))
    assert words[0].startswith(f"bands {first} and {second}: +{found.values[first, second]:.3f} [")
    assert "they need each other" in words[0]


def test_json_holds_all_pairs(table: Archive) -> None:
    """A script would have to parse the table."""
    found = interactions(table)
    plain = json.loads(in_process("show", table.path, "--json").out)
    shown = json.loads(in_process("show", table.path, "--interactions", "--json").out)
    pairs = shown.pop("interactions")
    assert shown == plain
    assert "interactions" not in plain
    assert {tuple(pair["bands"]) for pair in pairs} == {(i, j) for j in range(6) for i in range(j)}
    for pair in pairs:
        i, j = pair["bands"]
        assert pair["interaction"] == found.values[i, j]
        assert (pair["low"], pair["high"]) == (found.low[i, j], found.high[i, j])


def test_each_of_several_archives_has_its_own(table: Archive, bundled_archive: Archive) -> None:
    """Interactions of one archive would be printed below another."""
    paths = (table.path, bundled_archive.path)
    shown = in_process("show", *paths, "--interactions", "--json")
    for one, archive in zip(
        json.loads(shown.out)["archives"], (table, bundled_archive), strict=True
    ):
        i, j = one["interactions"][0]["bands"]
        assert one["interactions"][0]["interaction"] == interactions(archive).values[i, j]
    printed = in_process("show", *paths, "--interactions").out
    assert printed.count("the intervals of all pairs hold together") == 2
    second = printed.index(str(bundled_archive.path))
    assert printed.index("the intervals of all pairs hold together") < second


def test_a_sample_is_refused_before_anything_is_printed(table: Archive, sampled: Archive) -> None:
    """Half of a table, and an error below it; or numbers without meaning."""
    shown = in_subprocess("show", table.path, sampled.path, "--interactions")
    shown.fails("sampled.h5", "every coalition", "--method exact")

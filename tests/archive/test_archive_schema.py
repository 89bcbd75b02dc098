"""The written schema is the code's, and files of version 1 are read for ever.

tools/fixtures/make_schema_archives.py made tests/data/schema-1-exact.h5 and schema-1-sampled.h5,
which stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path

import h5py
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx import Archive
from iaside_onnx.archive import (
    DECOMPOSITION,
    SCHEMA_VERSION,
    DecompositionMetadata,
    Recipe,
    Variable,
    attributes_of,
)

PAGE = Path(iaside_onnx.__file__).parent / "archive" / "SCHEMA.md"
DATA = Path(__file__).parents[1] / "data"


def tables() -> dict[str, list[list[str]]]:
    """Rows of the page's tables, by the title above."""
    found: dict[str, list[list[str]]] = {}
    title = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif line.startswith("| `"):
            cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
            found.setdefault(title, []).append(cells)
    return found


def described(variable: Variable) -> list[str]:
    return [
        ", ".join(variable.dims) or "scalar",
        variable.dtype,
        variable.units or "-",
        "always" if variable.required else "where there are any",
        variable.long_name,
    ]


def test_the_page_is_the_schema() -> None:
    """Somebody who reads archives by the page alone would look for what is not there."""
    found = tables()
    assert f"version {SCHEMA_VERSION}" in PAGE.read_text(encoding="utf-8").splitlines()[0]
    for title, variables in (
        ("Variables", DECOMPOSITION.variables),
        ("Variables of a sample", DECOMPOSITION.variants["slot"]),
    ):
        assert [row[0] for row in found[title]] == list(variables)
        for name, *cells in found[title]:
            assert cells == described(variables[name]), name
    words = {
        "int": "integer", "float": "float", "str": "text",
        "dict": "JSON object, as text", "list": "JSON array, as text",
    }  # fmt: skip
    attributes = attributes_of(DecompositionMetadata)
    rows = found["Attributes of the root"]
    assert [row[0] for row in rows] == list(attributes)
    for name, kind, present, what in rows:
        assert kind == words[attributes[name].kind], name
        assert present == ("always" if attributes[name].required else "may be absent"), name
        assert what


def test_the_page_has_the_keys_of_the_recipe() -> None:
    """A reader cannot tell a key that is left out from one that never was."""
    words = {MISSING: "-", None: "null"}
    declared = {f.name: words.get(f.default, f.default) for f in fields(Recipe)}
    del declared["access"]
    assert {name: default for name, default, _ in tables()["The recipe"]} == declared


@pytest.mark.parametrize("name", ["exact", "sampled"])
def test_version_1_is_read_for_ever(name: str) -> None:
    """An archive is kept to be read in ten years, by whatever iaside there is."""
    path = DATA / f"schema-1-{name}.h5"
    archive = iaside_onnx.open_archive(path)
    assert archive.metadata.schema_version == 1
    assert archive.own_coalitions == (name == "sampled")
    assert (archive.bands, archive["image"].size) == (3, 6)
    assert iaside_onnx.verify(path).problems == []
    # As they were when the file was made.
    known = {
        "exact": ([20.55, -8.52, -2.92], 0.26),
        "sampled": ([20.16, -8.38, -2.66], 0.26),
    }[name]
    np.testing.assert_allclose(archive["phi"], known[0], atol=5e-3)
    assert float(archive["sis"]) == pytest.approx(known[1], abs=5e-3)


def test_the_fixtures_are_plain_hdf5() -> None:
    """No groups, links, object types or filters that other programs do not have."""
    for path in DATA.glob("schema-1-*.h5"):
        with h5py.File(path) as file:
            for name in file:
                dataset = file[name]
                assert isinstance(file.get(name, getlink=True), h5py.HardLink)
                assert isinstance(dataset, h5py.Dataset)
                assert dataset.dtype.kind in "iufS"
                assert dataset.compression in (None, "gzip")
                assert re.fullmatch(r"[a-z0-9_]+", name)


def test_every_structure_of_a_new_archive_has_a_checksum(bundled_archive: Archive) -> None:
    """In the oldest format, damage to them is met by crashes and endless loops inside HDF5."""
    data = bundled_archive.path.read_bytes()
    # The version of the superblock: 3 is of HDF5 1.10, where 0 is of the oldest format.
    assert data[:8] == b"\x89HDF\r\n\x1a\n"
    assert data[8] == 3
    # B-trees of version 1 are the last structure without one.
    assert b"TREE" not in data


def test_no_text_is_in_the_heap_that_has_no_checksum(bundled_archive: Archive) -> None:
    """A flipped byte there makes HDF5 read for ever, and `iaside show` with it."""
    with h5py.File(bundled_archive.path) as file:
        for owner in (file, *file.values()):
            for name in owner.attrs:
                kind = owner.attrs.get_id(name).get_type()
                text = kind.get_class() == h5py.h5t.STRING
                assert not (text and kind.is_variable_str()), name

"""Names of strangers in CSV files: no spreadsheet takes them for a formula."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

import iaside_onnx
from tests.support.command import CNN

# As they are, and as OWASP ("CSV Injection") has them.
NAMES = {
    "=cmd|' !A0.png": "'=cmd|' !A0.png",
    "+1.png": "'+1.png",
    "-1.png": "'-1.png",
    "@SUM(1).png": "'@SUM(1).png",
    "\t=1.png": "'\\t=1.png",
    "\r=1.png": "'\\r=1.png",
    "\n=1.png": "'\\n=1.png",
    "\uff1d1.png": "'\uff1d1.png",
    "a\x1b[2Jb.png": "a\\x1b[2Jb.png",
    "a;=1+1.png": "a;=1+1.png",
    'a",=1.png': 'a",=1.png',
    "plain \u00e4\u3000.png": "plain \u00e4\u3000.png",
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> iaside_onnx.Archive:
    """An archive of images that somebody named so."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "images").mkdir()
    for shade, name in enumerate(NAMES):
        Image.new("L", (28, 28), 20 * shade).save(folder / "images" / name, "PNG")
    return iaside_onnx.decompose(
        CNN, folder / "images", folder / "a.h5", labels="predicted", bands=2
    )


def test_no_cell_is_a_formula(archive: iaside_onnx.Archive, tmp_path: Path) -> None:
    """Whoever opens the table runs what the name of an image says."""
    path = tmp_path / "a.csv"
    iaside_onnx.convert(archive, path)
    text = path.read_text(encoding="utf-8")
    assert not {c for c in text if not c.isprintable()} - {"\n", "\u3000"}
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head[0] == "image"
    assert head[1] == "image_id [' before = + - @; control characters as \\x..]"
    assert {row[1] for row in rows} == set(NAMES.values())
    # A program that cuts at semicolons finds no cell of its own behind one.
    assert '"a;=1+1.png"' in text
    # Numbers stay numbers.
    assert float(rows[0][7]) == archive["phi_image"][0, 0]


def test_other_formats_hold_names_as_they_are(archive: iaside_onnx.Archive, tmp_path: Path) -> None:
    """Programs that are no spreadsheets look for the file of that name."""
    iaside_onnx.convert(archive, tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert set(data["columns"]["image_id"]) == set(NAMES)
    iaside_onnx.convert(archive, tmp_path / "a.parquet")
    assert set(pq.read_table(tmp_path / "a.parquet")["image_id"].to_pylist()) == set(NAMES)


def test_the_header_says_it_only_where_it_is_so(
    bundled_archive: iaside_onnx.Archive, tmp_path: Path
) -> None:
    """A column has another name, and scripts do not find it."""
    iaside_onnx.convert(bundled_archive, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().startswith('"image","image_id","label"')

"""The page: the archive's numbers, nothing loaded from elsewhere, nothing unescaped."""

from __future__ import annotations

import dataclasses
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iaside_onnx
from iaside_onnx import Archive
from iaside_onnx.errors import ArchiveError
from iaside_onnx.report import distribution_figure, interval_text, write_page

MODELS = Path(__file__).resolve().parent.parent.parent / "models"


def decompose(folder: Path, name: str, limit: int) -> Archive:
    """A small decomposition of a bundled model under another file name."""
    model = folder / name
    shutil.copy(MODELS / "fashion-cnn.onnx", model)
    return iaside_onnx.decompose(
        model,
        MODELS / "fashion-mnist-1000.npz",
        folder / "a.h5",
        preprocess=MODELS / "fashion-cnn.preprocess.json",
        bands=3,
        limit=limit,
    )


def test_a_hostile_model_name_stays_text(tmp_path: Path) -> None:
    """Unescaped, a file name from a stranger would run as script in the reader's browser."""
    archive = decompose(tmp_path, "<script>alert(1)<&.onnx", 2)
    write_page(archive, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;&amp;.onnx" in page


def test_hostile_attributes_stay_text(tmp_path: Path) -> None:
    """Any text in an archive from a stranger may be markup."""
    archive = decompose(tmp_path, "net.onnx", 2)
    hostile = "</dd><script>'\"&"
    texts: dict[str, Any] = {
        field.name: hostile
        for field in dataclasses.fields(archive.metadata)
        if isinstance(getattr(archive.metadata, field.name), str)
    }
    assert {"model_name", "model_sha256", "precision", "device", "finished"} <= texts.keys()
    metadata = dataclasses.replace(archive.metadata, **texts)
    values = {name: archive[name] for name in archive.names}
    edited = Archive(archive.path, archive.schema, metadata, values, frozenset())
    write_page(edited, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script" not in page
    # The name is in the title and the heading.
    assert page.count("&lt;/dd&gt;&lt;script&gt;&#39;&#34;&amp;") >= 7


def test_the_page_needs_no_network_and_holds_the_numbers(tmp_path: Path) -> None:
    """A page that loads something breaks offline, and tells a server who reads it."""
    archive = decompose(tmp_path, "net.onnx", 5)
    write_page(archive, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=|url\(|@import|https?://", page)
    for band in range(3):
        assert f"{archive['phi'][band]:.3f} [{archive['phi_low'][band]:.3f}" in page
    assert archive.metadata.model_sha256 in page


def test_a_page_of_others_is_not_replaced(tmp_path: Path) -> None:
    """demo.html may be somebody's own; our own page is made anew."""
    archive = decompose(tmp_path, "net.onnx", 2)
    (tmp_path / "a.html").write_text("mine")
    with pytest.raises(ArchiveError, match="not made by iaside"):
        write_page(archive, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == "mine"
    write_page(archive, tmp_path / "b.html")
    write_page(archive, tmp_path / "b.html")


def test_bars_are_as_high_as_psi(tmp_path: Path) -> None:
    """A figure out of scale would rank bands wrongly at a glance."""
    archive = decompose(tmp_path, "net.onnx", 5)
    # The text is our own, made a line above.
    figure = ET.fromstring(distribution_figure(archive))  # noqa: S314
    heights = np.array([float(bar.attrib["height"]) for bar in figure.iter("rect")])
    psi = archive["psi"]
    np.testing.assert_allclose(heights / heights.max(), psi / psi.max(), atol=2e-3)
    intervals = [line for line in figure.iter("line") if line.attrib.get("class") == "interval"]
    assert len(intervals) == 3


def test_one_image_has_no_interval_and_says_so(tmp_path: Path) -> None:
    """NaN bounds would show as numbers, or break the figure."""
    archive = decompose(tmp_path, "net.onnx", 1)
    assert np.isnan(archive["phi_low"]).all()
    assert interval_text(archive, "sis").endswith("[undefined]")
    write_page(archive, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b", page.lower())
    assert 'class="interval"' not in page


@pytest.mark.parametrize(("low", "high"), [(0.1777, 0.1904), (-1.0, 2.0)])
def test_interval_text_is_rounded_to_three_places(low: float, high: float, tmp_path: Path) -> None:
    """The text is what people quote."""
    archive = decompose(tmp_path, "net.onnx", 2)
    values = {name: np.array(value) for name, value in zip(
        ("sis", "sis_low", "sis_high"), (0.18449, low, high), strict=True
    )}  # fmt: skip
    edited = Archive(archive.path, archive.schema, archive.metadata, values, frozenset())
    assert interval_text(edited, "sis") == f"0.184 [{low:.3f}, {high:.3f}]"

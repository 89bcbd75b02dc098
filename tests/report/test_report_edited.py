"""Pages of archives that strangers made or edited: any text, any number, any size."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from iaside_onnx import Archive, write_report
from iaside_onnx.archive import digest_of
from iaside_onnx.errors import ArchiveError
from tests.support.pages import check_safe, edited, page_of

BIDI = "\u202egpj.exe"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e300])
@pytest.mark.parametrize("several", [False, True])
def test_any_number_is_a_page(
    value: float, several: bool, bundled_archive: Archive, pgd: Archive, tmp_path: Path
) -> None:
    """Archives are edited: a number that nobody expects would be a traceback, or break the page."""
    names = [name for name in bundled_archive.names if bundled_archive[name].dtype.kind == "f"]
    values = {
        name: np.full_like(bundled_archive[name], value)
        for name in names
        if abs(value) < 1e38 or not np.isfinite(value) or bundled_archive[name].itemsize == 8
    }
    strange = edited(bundled_archive, values, accuracy=value)
    page = page_of([strange, pgd] if several else strange, tmp_path)
    check_safe(page, (tmp_path / "a.html").read_text(encoding="utf-8"))
    assert not re.search(r"\b(nan|inf)\b", page.text.lower())
    # 1e300 has 300 digits.
    assert not re.search(r"[0-9]{100}", page.text)


HOSTILE = {
    "script": "</dd></title><script>alert(1)</script>'\"&",
    "attribute": '" onmouseover="alert(1)" x=\'',
    "bidi": BIDI,
    "long": "x" * 5000,
    "lines": "a\nb\x00c\x1b[31m",
    "template": "{{ 7 * 7 }}{% raw %}",
    "bytes": "caf\udce9",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_texts_stay_text(
    kind: str, bundled_archive: Archive, pgd: Archive, tmp_path: Path
) -> None:
    """Unescaped, a file name from a stranger would run as script in the reader's browser."""
    hostile = HOSTILE[kind]
    texts: dict[str, Any] = {
        field.name: hostile
        for field in dataclasses.fields(bundled_archive.metadata)
        if isinstance(getattr(bundled_archive.metadata, field.name), str)
    }
    assert {"model_name", "model_sha256", "precision", "device", "finished", "digest"} <= set(texts)
    count = bundled_archive["image"].size
    values = {
        "image_id": np.array([hostile] * count, dtype=object),
        "class_folder": np.array([hostile] * 10, dtype=object),
        "class_folder_index": np.arange(10),
    }
    strange = edited(bundled_archive, values, **texts, notes=[hostile] * 3)
    for archives in (strange, [strange, pgd], [pgd, strange]):
        page = page_of(archives, tmp_path)
        text = (tmp_path / "a.html").read_text(encoding="utf-8")
        check_safe(page, text)
        assert all(c.isprintable() or c in "\n\u00a0" for c in text)
        assert len(text) < 200_000
        assert all("band " in title for titles in page.bars.values() for title in titles)
    if kind == "script":
        assert "<script>alert(1)</script>" in page.text
    if kind == "template":
        assert "{{ 7 * 7 }}" in page.text
    if kind == "bidi":
        assert "\\u202egpj.exe" in page.text


def test_a_changed_archive_is_shown_with_a_warning(
    bundled_archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Numbers that somebody edited would pass for measured ones."""
    copy = tmp_path / "copy.h5"
    copy.write_bytes(bundled_archive.path.read_bytes())
    assert "Not as it was written" not in page_of(copy, tmp_path).text
    with h5py.File(copy, "r+") as file:
        file["sis"][()] = 0.9
    page = page_of([copy], tmp_path)
    assert "Not as it was written" in page.text
    assert "the digest is" in page.text
    assert "cannot be trusted" in caplog.text
    with h5py.File(copy, "r+") as file:
        file.attrs["digest"] = digest_of(file)
    assert "Not as it was written" not in page_of(copy, tmp_path).text


def test_an_archive_without_images_or_bands_is_refused(
    bundled_archive: Archive, tmp_path: Path
) -> None:
    """Whoever is sent an edited archive would get a traceback."""
    for name, dim in (("image", "image"), ("band", "band")):
        values = {
            key: np.zeros(
                [0 if axis == dim else bundled_archive.size(axis) for axis in variable.dims],
                dtype=bundled_archive[key].dtype,
            )
            for key, variable in bundled_archive.declared.items()
            if dim in variable.dims
        }
        with pytest.raises(ArchiveError, match="not what its options say"):
            write_report(edited(bundled_archive, values), tmp_path / f"{name}.html")

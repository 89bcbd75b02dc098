"""What a notebook shows for an archive: its numbers, and no markup from strangers."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import h5py
import numpy as np
import pytest

from iaside_onnx import Archive


def texts(html: str) -> list[str]:
    """The text of each element, of HTML that is well-formed."""
    return [(element.text or "").strip() for element in ET.fromstring(html).iter()]  # noqa: S314


def test_the_numbers_are_those_of_the_archive(bundled_archive: Archive) -> None:
    """A notebook would show other numbers than `iaside show`."""
    html = bundled_archive._repr_html_()
    found = texts(html)
    with h5py.File(bundled_archive.path) as file:
        for name in ("phi", "psi"):
            values = zip(*(file[key][()] for key in (name, f"{name}_low", f"{name}_high")),
                         strict=True)  # fmt: skip
            for value, low, high in values:
                assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in found
        sis = f"SIS {file['sis'][()]:.3f} [{file['sis_low'][()]:.3f}, {file['sis_high'][()]:.3f}]"
    assert sis in html
    assert "12 images" in html
    assert "accuracy" in html
    assert "fashion-cnn.onnx" in found


HOSTILE = [
    "</table></div><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe\x1b[2J\n\0",
    "x" * 100_000,
]


@pytest.mark.parametrize("name", HOSTILE, ids=["tags", "image", "template", "control", "long"])
def test_a_hostile_name_stays_text(bundled_archive: Archive, name: str) -> None:
    """A notebook runs what is in the HTML of a result, with the rights of its reader."""
    metadata = dataclasses.replace(bundled_archive.metadata, model_name=name)
    values = {key: bundled_archive[key] for key in bundled_archive}
    edited = Archive(bundled_archive.path, bundled_archive.schema, metadata, values, frozenset())
    html = edited._repr_html_()
    assert {element.tag for element in ET.fromstring(html).iter()} == {  # noqa: S314
        "div", "strong", "table", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert len(html) < 10_000
    assert all(text.isprintable() for text in texts(html))
    if name == HOSTILE[2]:
        assert name in html


def test_nothing_is_loaded_and_no_color_is_set(bundled_archive: Archive) -> None:
    """Without a network it would be broken, and in a dark notebook unreadable."""
    html = bundled_archive._repr_html_()
    for word in ("http", "src=", "href=", "url(", "<style", "color", "background"):
        assert word not in html


def test_numbers_that_are_none_are_shown(bundled_archive: Archive) -> None:
    """An edited archive with NaN would break the cell it is shown in."""
    values = {key: bundled_archive[key] for key in bundled_archive}
    values |= {"phi": np.full(6, np.nan), "psi": np.full(6, np.inf), "sis_low": np.array(np.nan)}
    metadata = dataclasses.replace(bundled_archive.metadata, accuracy=float("nan"))
    edited = Archive(bundled_archive.path, bundled_archive.schema, metadata, values, frozenset())
    html = edited._repr_html_()
    assert "nan" in html
    assert "[undefined]" in html
    assert "model's own answers" in " ".join(texts(html))

"""A page as a browser would take it in, by the parser of the standard library."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from iaside_onnx import Archive, open_archive, write_report

__all__ = ["Page", "check_safe", "copies", "edited", "page_of", "read_page", "shown"]

_VOID = {"meta", "img", "br", "link", "base", "input"}


class Page(HTMLParser):
    """The elements, the texts and the tables of a page.

    Attributes:
        tags: every element as its name and attributes, in their order.
        text: all text outside of the style sheet.
        tables: rows of cells by the caption of the table; whitespace is collapsed.
        bars: by the id of a chart's title, the title of each bar.
        unclosed: elements that were not closed, or closed in another order.
    """

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self.bars: dict[str, list[str]] = {}
        self.unclosed: list[str] = []
        self._open: list[str] = []
        self._caption, self._rows, self._chart = "", [[""]], ""
        self.feed(markup)
        self.close()
        self.unclosed += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "table":
            self._caption, self._rows = "", []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif tag == "title":
            name = dict(attrs).get("id")
            if name:
                self._chart = name
                self.bars[name] = []
            elif "g" in self._open:
                self.bars[self._chart].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element of SVG that is closed at once."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close an element."""
        if not self._open or self._open.pop() != tag:
            self.unclosed.append(tag)
        if tag == "table":
            self.tables[" ".join(self._caption.split())] = [
                [" ".join(cell.split()) for cell in row] for row in self._rows
            ]

    def handle_data(self, data: str) -> None:
        """Add text to where it stands."""
        if "style" in self._open:
            return
        self.text += data
        if "caption" in self._open:
            self._caption += data
        elif "td" in self._open or "th" in self._open:
            self._rows[-1][-1] += data
        elif self._open[-2:] == ["g", "title"]:
            self.bars[self._chart][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of one name."""
        return [attrs for name, attrs in self.tags if name == tag]


def read_page(path: Path) -> Page:
    """Parse a page."""
    return Page(path.read_text(encoding="utf-8"))


def shown(value: float, digits: int = 3) -> str:
    """A number as the page should print it."""
    return f"{value:.{digits}f}".replace("-", "\u2212")


def page_of(archives: Any, folder: Path, **options: Any) -> Page:
    """Write a page as `a.html` and parse it."""
    write_report(archives, folder / "a.html", **options)
    return read_page(folder / "a.html")


def copies(archive: Archive, folder: Path, count: int) -> list[Archive]:
    """The archive under several names."""
    paths = [folder / f"copy-{i}.h5" for i in range(count)]
    for path in paths:
        shutil.copyfile(archive.path, path)
    return [open_archive(path) for path in paths]


def edited(archive: Archive, values: dict[str, Any] | None = None, **metadata: Any) -> Archive:
    """The archive with other values and attributes, as a stranger may have written them."""
    texts = dataclasses.replace(archive.metadata, **metadata)
    all_values = {name: archive[name] for name in archive.names} | (values or {})
    return Archive(archive.path, archive.schema, texts, all_values, frozenset())


def check_safe(page: Page, text: str) -> None:
    """Assert that a page runs nothing, loads nothing, and refuses both by its policy."""
    assert page.unclosed == []
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "base", "iframe", "object", "embed", "form", "use"}
    for name, attributes in page.tags:
        assert not [key for key in attributes if key.startswith("on") or key == "style"], name
        for key in ("src", "href", "xlink:href", "srcset", "action"):
            value = attributes.get(key)
            assert value is None or value.startswith(("#", "data:image/png;base64,")), name
    assert not re.search(r"url\(|@import|https?://", text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = (
        attributes["content"]
        for attributes in page.all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"
    # A policy counts for what comes after it.
    order = [name for name, _ in page.tags]
    assert order.index("meta") < order.index("style") < order.index("body")

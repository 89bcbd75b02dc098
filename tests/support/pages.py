"""A page as a browser would take it in, by the parser of the standard library."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

__all__ = ["Page", "read_page"]

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

"""Count what a source of images does not take, so that nothing is left out in silence."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

__all__ = ["HIDDEN", "LeftOut", "suffix_of"]

HIDDEN = "hidden"
"""The word for files and folders whose name begins with a dot."""

_SHOWN = 12


class LeftOut:
    """Numbers of what was not taken, by kind, each with the first example."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, kind: str, example: str) -> None:
        """Count one.

        Args:
            kind: what it is, such as ``.txt`` or ``hidden``.
            example: its name within the source.
        """
        self._counts[kind] += 1
        if kind not in self._examples:
            # Names that are not UTF-8 cannot be printed or archived.
            self._examples[kind] = example.encode("utf-8", "backslashreplace").decode()

    def __str__(self) -> str:
        """Such as ``3 .txt (a.txt, ...), 1 hidden (.DS_Store)``; empty if there is nothing."""
        kinds = [
            f"{count} {kind} ({self._examples[kind]}{', ...' if count > 1 else ''})"
            for kind, count in self._counts.most_common(_SHOWN)
        ]
        more = len(self._counts) - len(kinds)
        return ", ".join(kinds) + (f" and {more} other kinds" if more else "")

    def notes(self, title: str) -> tuple[str, ...]:
        """A line for people if anything was left out."""
        return (f"left out of {title}: {self}",) if self._counts else ()

    def found(self) -> str:
        """What an error adds that says that there are no images."""
        return f"found {self}" if self._counts else "found nothing"


def suffix_of(name: str) -> str:
    """The suffix of a file name in lower case, or a word where it has none."""
    return PurePosixPath(name).suffix.lower() or "without suffix"

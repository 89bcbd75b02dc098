"""What an archive's run was given, to do something like it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from iaside_onnx.archive import Archive
from iaside_onnx.engine.options import Options, new_words
from iaside_onnx.errors import ArchiveError, OptionError

__all__ = ["archived_input", "archived_options"]


def archived_options(old: Archive, changes: Mapping[str, Any]) -> Options:
    """The options of the archive's run, with some changed.

    Raises:
        ArchiveError: if they cannot be had back from the archive.
    """
    given = old.metadata.options["given"]
    if "parts" in given:
        raise ArchiveError(
            f"{old.path}: is merged from several archives, each with images of its own; do this "
            "with those archives"
        )
    names = {field.name for field in fields(Options)}
    words = {k: v for k, v in new_words(given).items() if k in names}
    if words.get("labels") == "array":
        raise ArchiveError(
            f"{old.path}: its labels were an array, which the archive does not hold as it was "
            "given; make the archive anew"
        )
    try:
        if isinstance(words.get("classes"), str):
            words["classes"] = Path(words["classes"])
        if words.get("input_size") is not None:
            words["input_size"] = tuple(words["input_size"])
        return Options(**{**words, **changes})
    # Archives are edited, so anything may be there.
    except (TypeError, ValueError, AttributeError, OptionError) as error:
        if isinstance(error, OptionError) and any(n in str(error) for n in ("budget", "target")):
            raise
        raise ArchiveError(f"{old.path}: its options cannot be read: {error}") from error


def archived_input(old: Archive, name: str, given: Any) -> Any:
    """A path as it was given then or now.

    Raises:
        ArchiveError: if it is not there.
    """
    if given is not None:
        return given
    path = str(old.metadata.options["given"].get(name))
    if not Path(path).exists():
        raise ArchiveError(
            f"{old.path}: its {name} {path!r} {'is' if name == 'model' else 'are'} not there; say "
            f"where with --{name}"
        )
    return path

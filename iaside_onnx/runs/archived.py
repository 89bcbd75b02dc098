"""What the run of an archive was given, to do something like it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypedDict

from iaside_onnx.archive import INFERENCE_OF_ABOUT, Archive
from iaside_onnx.errors import ArchiveError
from iaside_onnx.images import ClassesLike
from iaside_onnx.model import PreprocessLike
from iaside_onnx.runs.options import Labels, Options, parse_options
from iaside_onnx.runs.planning import Inputs, find_inputs

__all__ = ["Moved", "archived_inputs", "archived_options"]


class Moved(TypedDict, total=False):
    """Where things are that have moved since an archive was made.

    Attributes:
        labels: labels, as in `Options`; needed where they were an array.
        classes: folder name to class index, as in `Options`.
        preprocess: specification, as in `Options`.
    """

    labels: Labels | None
    classes: ClassesLike | None
    preprocess: PreprocessLike | None


def archived_options(old: Archive, changes: Mapping[str, Any], moved: Moved) -> Options:
    """The options of the run of an archive, with some changed.

    Raises:
        ArchiveError: if they cannot be had back from the archive.
        OptionError: if a change cannot work, such as a budget.
    """
    given = old.metadata.options["given"]
    if "parts" in given:
        raise ArchiveError(
            f"{old.path}: is merged from several archives, each with images of its own; do this "
            "with those archives"
        )
    if "about" in given:
        about = str(given["about"])
        given = {**given, "inference": INFERENCE_OF_ABOUT.get(about, about)}
    names = {field.name for field in fields(Options)}
    words = {name: value for name, value in given.items() if name in names}
    there = {name: value for name, value in moved.items() if value is not None}
    if words.get("labels") == "array" and "labels" not in there:
        raise ArchiveError(
            f"{old.path}: its labels were an array, which the archive does not hold as it was "
            "given; give them again as labels"
        )
    try:
        if isinstance(words.get("classes"), str):
            words["classes"] = Path(words["classes"])
        if words.get("input_size") is not None:
            words["input_size"] = tuple(words["input_size"])
        Options(**{**words, "labels": None})
    # Archives are edited, so anything may be there.
    except (TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"{old.path}: its options cannot be read: {error}") from error
    return parse_options({**words, **there, **changes})


def archived_inputs(old: Archive, options: Options, model: Any, images: Any) -> Inputs:
    """The model and the images of an archive, where they were or where they are now.

    Args:
        old: the archive.
        options: of its run.
        model: path of the model; None for where it was.
        images: the source of images; None for where it was.

    Raises:
        ArchiveError: if something is not there.
        IasideError: if it cannot be used.
    """
    return find_inputs(_input(old, "model", model), _input(old, "images", images), options)


def _input(old: Archive, name: str, given: Any) -> Any:
    if given is not None:
        return given
    path = str(old.metadata.options["given"].get(name))
    # A path of this name would be of another kind of source.
    if name == "images" and (path, old.recipe.images) == ("array", "arrays"):
        raise ArchiveError(
            f"{old.path}: its images were an array, which the archive does not hold; give them "
            "again as images"
        )
    if not Path(path).exists():
        raise ArchiveError(
            f"{old.path}: its {name} {path!r} {'is' if name == 'model' else 'are'} not there; say "
            f"where with --{name}"
        )
    return path

"""Which class index a name has: maps from files, and the rules for class folders."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeGuard, TypeVar, get_args

import numpy as np

from iaside_onnx.errors import ImageError
from iaside_onnx.images.files import MAX_TEXT_BYTES, read_bytes, read_json

__all__ = [
    "ClassWord",
    "ClassesLike",
    "KnownClasses",
    "check_classes",
    "class_index",
    "find_classes",
    "is_index",
    "named",
    "no_word",
    "number_folders",
    "read_classes",
]

ClassWord: TypeAlias = Literal["in-order", "numbers"]
"""Rules in place of a map of names.

``in-order``: the source's own numbering is that of the model. ``numbers``: the name of a class
folder is its class index.
"""

ClassesLike: TypeAlias = str | Path | Mapping[Any, Any] | Sequence[str]
"""A word of `ClassWord`, a file, a map of names to indices or back, or names in order."""

KnownClasses: TypeAlias = "dict[str, int] | ClassWord | None"
"""Class index of each name, or a rule, or neither."""

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DIGITS = re.compile(r"([0-9]+)", re.ASCII)
_LARGEST = int(np.iinfo(np.int64).max)
_Value = TypeVar("_Value")


def find_classes(classes: ClassesLike | None) -> KnownClasses:
    """What was given as classes: a word, or a map that is read and checked.

    Raises:
        ImageError: it cannot be read, or is no such map.
    """
    if classes is None:
        return None
    for word in get_args(ClassWord):
        if str(classes) == word:
            return word  # type: ignore[no-any-return]  # get_args knows no types
    if isinstance(classes, str | Path):
        return read_classes(Path(classes))
    return check_classes(classes, "classes")


def no_word(classes: KnownClasses, where: str) -> dict[str, int] | None:
    """The map of names, for a source that has no numbering of its own.

    Raises:
        ImageError: a rule was given.
    """
    if isinstance(classes, str):
        raise ImageError(
            f"{where} has no class folders, so `classes={classes!r}` does not apply; give a file "
            "that maps names to class indices, or nothing"
        )
    return classes


def read_classes(path: Path) -> dict[str, int]:
    """Read the class index of each name from a file, as `check_classes` takes it.

    A .txt file has one name a line, in the order of the classes.

    Raises:
        ImageError: the file cannot be read, or is no such map.
    """
    if path.suffix.lower() == ".txt":
        try:
            text = read_bytes(path, MAX_TEXT_BYTES, str(path), ImageError).decode("utf-8-sig")
        except UnicodeDecodeError as failure:
            raise ImageError(f"{path} is not text in UTF-8 ({failure}); fix it") from None
        return check_classes([line.strip() for line in text.strip().splitlines()], str(path))
    return check_classes(read_json(path, str(path), ImageError), str(path))


def check_classes(data: object, where: str) -> dict[str, int]:
    """Class index of each name, whichever way round it is written.

    Args:
        data: ``{"cat": 0}``; ``{"0": "cat"}``; ``{"0": ["n02123045", "tabby"]}``, as in Keras;
            ``["cat"]``; or an object that has one of these as ``id2label``, ``label2id``, as the
            hub's ``config.json``, or as ``label_names``, as timm's.
        where: what to call it in an error.

    Raises:
        ImageError: it is none of these, a name has two indices, or an index is negative.
    """
    if isinstance(data, Mapping):
        for key in ("id2label", "label2id", "label_names"):
            if isinstance(data.get(key), Mapping | list):
                return check_classes(data[key], f"{where}: {key}")
    if isinstance(data, list | tuple) and data:
        return _turned(enumerate(data), where)
    if not isinstance(data, Mapping) or not data:
        raise ImageError(f'{where} must map class names to class indices, such as {{"cat": 0}}')
    if _is_turned(data, where):
        return _turned(((int(index), names) for index, names in data.items()), where)
    for name, index in data.items():
        if not isinstance(name, str) or not is_index(index):
            raise ImageError(
                f"{where} maps {name!r} to {index!r}; a class index must be an integer, at least 0"
            )
    return {name: int(index) for name, index in data.items()}


def _is_turned(data: Mapping[Any, Any], where: str) -> bool:
    """Whether the keys are class indices and the values names."""
    if not all(is_index(_number(key)) for key in data):
        return False
    if not all(isinstance(value, str | list | tuple) for value in data.values()):
        return False
    if all(_number(value) is not None for value in data.values()):
        raise ImageError(
            f"{where} maps numbers to numbers in quotes, so it is unclear which are class indices; "
            'write the indices without quotes, such as {"7": 0}'
        )
    return True


def _turned(pairs: Iterable[tuple[int, object]], where: str) -> dict[str, int]:
    """Class index of each name, from the name or names of each class index."""
    found: dict[str, int] = {}
    twice: set[str] = set()
    for index, names in pairs:
        several = list(names) if isinstance(names, list | tuple) else [names]
        for name in several:
            if not isinstance(name, str) or not name:
                raise ImageError(f"{where} names class {index} {name!r}; a name was expected")
            if found.setdefault(name, index) != index:
                twice.add(name)
                # One of several names of a class may be shared, such as the two cranes of ImageNet.
                if len(several) == 1:
                    raise ImageError(
                        f"{where} gives classes {found[name]} and {index} the same name {name!r}; "
                        "rename one of them"
                    )
    return {name: index for name, index in found.items() if name not in twice}


def number_folders(names: Sequence[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Number class folders in string order, as torchvision and Keras do.

    Returns:
        Class index of each folder, and a note if people would expect another order.
    """
    found = {name: index for index, name in enumerate(sorted(names))}
    numbers = [_number(name) for name in found]
    natural: list[str] | list[int] = sorted(found, key=_natural)
    odd = [name for index, name in enumerate(found) if natural[index] != name]
    if None not in numbers:
        odd = [name for name, index in found.items() if int(name) != index]
    if not odd:
        return found, ()
    note = (
        "class folders are numbered in string order, as by torchvision: "
        f"folder {odd[0]} is class {found[odd[0]]}"
    )
    if None not in numbers:
        note += "; `classes='numbers'` takes the names as class indices"
    return found, (note,)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts a10 behind a2."""
    # Text and digits alternate. Very many digits are compared as text.
    return [
        (int(part), "") if i % 2 and len(part) < 20 else (0, part)
        for i, part in enumerate(_DIGITS.split(name))
    ]


def class_index(label: object, classes: Mapping[str, int] | None, where: str) -> int:
    """Class index of a label that is an index, or a name in ``classes``.

    Raises:
        ImageError: it is neither; the message begins with ``where``.
    """
    if isinstance(label, str):
        label = _from_text(label, classes, where)
    if is_index(label):
        return label
    known = "no class names were given" if classes is None else "it is not among the class names"
    raise ImageError(
        f"{where} has the label {label!r}; an integer of at least 0 or the name of a class was "
        f"expected ({known})"
    )


def _from_text(label: str, classes: Mapping[str, int] | None, where: str) -> object:
    """Class index of a text that is a name or a number; other text is returned as it is."""
    found = None if classes is None else named(label, classes)
    number = _number(label)
    if found is None:
        return label if number is None else number
    if number not in (None, found):
        raise ImageError(
            f"{where} has the label {label!r}, both a class index and the name of class {found}; "
            "rename the class or write its index"
        )
    return found


def named(name: str, values: Mapping[str, _Value]) -> _Value | None:
    """The value of a name; if it is not there, that of the name in another form of Unicode.

    macOS writes an accent apart from its letter (NFD), others write both as one (NFC).
    """
    if name in values:
        return values[name]
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")} & values.keys()
    return values[forms.pop()] if len(forms) == 1 else None


def _number(value: object) -> int | None:
    """An integer that is given as such or as text."""
    if isinstance(value, str):
        # More digits overflow int64, and Python refuses to parse very many.
        return int(value) if len(value) < 20 and _INTEGER.fullmatch(value) else None
    return value if type(value) is int else None


def is_index(value: object) -> TypeGuard[int]:
    """Whether this is an integer that can be a class index."""
    return type(value) is int and 0 <= value <= _LARGEST

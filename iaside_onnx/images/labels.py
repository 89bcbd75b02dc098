"""Labels from files, the map of class names, and the sample of images for a limited run."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError, OptionError
from iaside_onnx.images.files import MAX_TEXT_BYTES, read_bytes, read_json

__all__ = [
    "check_classes",
    "checked_labels",
    "class_index",
    "labels_from_file",
    "read_classes",
    "sample_images",
]

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LARGEST = int(np.iinfo(np.int64).max)
# Separates this random stream from others that use the same seed.
_SAMPLING = 0x5A3F1E


def labels_from_file(
    path: Path, ids: Sequence[str], classes: Mapping[str, int] | None
) -> NDArray[np.int64]:
    """Read the label of each image, ``(len(ids),)``; the file may name more images.

    Args:
        path: CSV of two columns, with or without the header ``image_id,label``; or a JSON object
            that maps image ids to labels. A label is an integer, or a name in ``classes``.
        ids: the ids of the images in their source.
        classes: class index of each name.

    Raises:
        ImageError: the file cannot be read, names an image twice, lacks images, or has a label
            that is neither a class index nor a known name.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".json"):
        raise ImageError(
            f"{path} is neither .csv nor .json; give the labels in one of these formats"
        )
    pairs = _csv_pairs(path) if suffix == ".csv" else _json_pairs(path)
    labels: dict[str, object] = {}
    for name, label in pairs:
        if name in labels:
            raise ImageError(f"{path} labels the image {name!r} more than once; keep one line")
        labels[name] = label
    missing = [name for name in ids if name not in labels]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ImageError(
            f"{path} has no label for {len(missing)} of {len(ids)} images ({shown}); add them, "
            "with the images' paths relative to their source"
        )
    values = [class_index(labels[name], classes, f"{path}: image {name!r}") for name in ids]
    return np.array(values, dtype=np.int64)


def read_classes(path: Path) -> dict[str, int]:
    """Read the class index of each name from a JSON object.

    Raises:
        ImageError: the file cannot be read, or is not an object that maps names to non-negative
            integers.
    """
    return check_classes(read_json(path, str(path), ImageError), str(path))


def check_classes(data: object, where: str) -> dict[str, int]:
    """Check a map of class names to class indices.

    Raises:
        ImageError: it does not map names to non-negative integers.
    """
    if not isinstance(data, Mapping) or not data:
        raise ImageError(f'{where} must map class names to class indices, such as {{"cat": 0}}')
    for name, index in data.items():
        if not isinstance(name, str) or not _is_index(index):
            raise ImageError(
                f"{where} maps {name!r} to {index!r}; a class index must be an integer of at least "
                "0"
            )
    return {name: int(index) for name, index in data.items()}


def checked_labels(labels: Any, n: int, where: str) -> NDArray[np.int64]:
    """Check an array or dataset of labels.

    Args:
        labels: ``(n,)``, of integers.
        n: number of images.
        where: name of the source in an error.

    Returns:
        ``(n,)``.

    Raises:
        ImageError: it has another shape or type, or a label is negative.
    """
    if labels.shape != (n,):
        raise ImageError(
            f"{where}: labels have shape {labels.shape}, but there are {n} images; one label "
            f"per image, shape ({n},), was expected"
        )
    if labels.dtype.kind not in "iu":
        raise ImageError(
            f"{where}: labels have type {labels.dtype}; integers were expected, save class indices"
        )
    values = np.asarray(labels[:])
    outside = (values < 0) | (values > np.iinfo(np.int64).max)
    if outside.any():
        index = int(np.argmax(outside))
        raise ImageError(
            f"{where}: the label of image {index} is {values[index]}; a class index of at least 0 "
            "was expected"
        )
    return values.astype(np.int64)


def sample_images(
    n: int, labels: NDArray[np.int64] | None, limit: int | None, seed: int
) -> NDArray[np.int64]:
    """Choose images: all, or a random sample of ``limit``, balanced over classes.

    With labels, the numbers of images of any two classes differ by at most one, unless a class has
    no more images. The sample of a smaller limit is a subset of that of a larger one.

    Args:
        n: number of images.
        labels: ``(n,)``, or None for a sample that ignores classes.
        limit: number of images to choose; None, or ``n`` and more, chooses all.
        seed: seed of the run, at least 0.

    Returns:
        indices of the chosen images, ascending, ``(min(n, limit),)``.

    Raises:
        OptionError: ``limit`` is below 1, or ``seed`` below 0.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"the limit of images must be at least 1, found {limit}")
    if seed < 0:
        raise OptionError(f"the seed must be at least 0, found {seed}")
    if limit is None or limit >= n:
        return np.arange(n, dtype=np.int64)
    groups = np.zeros(n, dtype=np.int64) if labels is None else labels
    rank = np.empty(n, dtype=np.int64)
    tie = np.empty(n)
    kinds, starts = np.unique(np.sort(groups), return_index=True)
    for group, members in zip(
        kinds, np.split(np.argsort(groups, kind="stable"), starts[1:]), strict=True
    ):
        # One generator per class: the sample of a class does not depend on the other classes.
        rng = np.random.default_rng([seed, _SAMPLING, int(group)])
        rank[rng.permutation(members)] = np.arange(len(members))
        tie[members] = rng.random(len(members))
    # First one image of each class, then a second one, ...; ties, so classes, in random order.
    return np.sort(np.lexsort((tie, rank))[:limit]).astype(np.int64)


def _csv_pairs(path: Path) -> Iterable[tuple[str, object]]:
    data = read_bytes(path, MAX_TEXT_BYTES, str(path), ImageError)
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as failure:
        raise ImageError(f"{path} is not valid CSV in UTF-8 ({failure}); fix it") from None
    for line, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (line == 1 and cells == ["image_id", "label"]):
            continue
        if len(cells) != 2:
            raise ImageError(
                f"{path}, row {line}: two columns, image_id and label, were expected, found "
                f"{len(cells)}; fix the row"
            )
        yield cells[0], cells[1]


def _json_pairs(path: Path) -> Iterable[tuple[str, object]]:
    data = read_json(path, str(path), ImageError)
    if not isinstance(data, dict):
        raise ImageError(
            f'{path} must be a JSON object that maps image ids to labels, such as {{"a.jpg": 0}}'
        )
    return data.items()


def class_index(label: object, classes: Mapping[str, int] | None, where: str) -> int:
    """Class index of a label that is an index, or a name in ``classes``.

    Raises:
        ImageError: it is neither; the message begins with ``where``.
    """
    if isinstance(label, str):
        label = _from_text(label, classes, where)
    if _is_index(label):
        return label
    known = "no class names were given" if classes is None else "it is not among the class names"
    raise ImageError(
        f"{where} has the label {label!r}; an integer of at least 0 or the name of a class was "
        f"expected ({known})"
    )


def _from_text(label: str, classes: Mapping[str, int] | None, where: str) -> object:
    """Class index of a text that is a name or a number; other text is returned as it is."""
    named = None if classes is None else classes.get(label)
    # More digits overflow int64, and Python refuses to parse very many.
    number = int(label) if len(label) < 20 and _INTEGER.fullmatch(label) else None
    if named is None:
        return label if number is None else number
    if number not in (None, named):
        raise ImageError(
            f"{where} has the label {label!r}, both a class index and the name of class {named}; "
            "rename the class or write its index"
        )
    return named


def _is_index(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _LARGEST

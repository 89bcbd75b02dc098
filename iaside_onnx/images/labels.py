"""Labels from files and arrays, and the sample of images for a limited run."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError, OptionError
from iaside_onnx.images.classes import class_index
from iaside_onnx.images.decode import IMAGE_SUFFIXES
from iaside_onnx.images.files import MAX_TEXT_BYTES, read_bytes, read_json

__all__ = ["checked_labels", "match_labels", "sample_images"]

# Separates this random stream from others that use the same seed.
_SAMPLING = 0x5A3F1E
_BLOCK_BYTES = 2**24


def match_labels(
    path: Path, ids: Sequence[str], classes: Mapping[str, int] | None
) -> tuple[NDArray[np.int64], bool]:
    """Read the label of each image from a file, which may name more images.

    Args:
        path: CSV of two columns, with or without the header ``image_id,label``; or a JSON object
            that maps image ids to labels. A label is an integer, or a name in ``classes``. Ids may
            lack the suffix of the image file, and may be in another form of Unicode.
        ids: the ids of the images in their source.
        classes: class index of each name.

    Returns:
        The labels, ``(len(ids),)``, and whether names of classes were needed.

    Raises:
        ImageError: the file cannot be read, names an image twice, lacks images, or has a label
            that is neither a class index nor a known name.
    """
    labels = _file_labels(path)
    keys = _matched(path, ids, labels)
    values = [
        class_index(labels[key], classes, f"{path}: image {name!r}")
        for name, key in zip(ids, keys, strict=True)
    ]
    texts = {label for key in keys if isinstance(label := labels[key], str)}
    by_name = any(not text.lstrip("+").isdecimal() for text in texts)
    return np.array(values, dtype=np.int64), by_name


def _file_labels(path: Path) -> dict[str, object]:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".json"):
        raise ImageError(
            f"{path} is neither .csv nor .json; give the labels in one of these formats"
        )
    labels: dict[str, object] = {}
    for name, label in _csv_pairs(path) if suffix == ".csv" else _json_pairs(path):
        if name in labels:
            raise ImageError(f"{path} labels the image {name!r} more than once; keep one line")
        labels[name] = label
    return labels


def _matched(path: Path, ids: Sequence[str], labels: Mapping[str, object]) -> list[str]:
    """The key in ``labels`` of each image, ``len(ids)`` of them.

    Raises:
        ImageError: an image has none, or shares it with another.
    """
    found = [(name, next((key for key in _names(name) if key in labels), None)) for name in ids]
    keys = {name: key for name, key in found if key is not None}
    missing = [name for name, key in found if key is None]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ImageError(
            f"{path} has no label for {len(missing)} of {len(ids)} images ({shown}); add them, "
            "with the images' paths relative to their source"
        )
    owner: dict[str, str] = {}
    for name, key in keys.items():
        if owner.setdefault(key, name) != name:
            raise ImageError(
                f"{path}: the line {key!r} may be that of {owner[key]} or of {name}; write the "
                "names of the files in full"
            )
    return list(keys.values())


def _names(name: str) -> Iterator[str]:
    """What a file of labels may call an image; most images are found by the first."""
    yield name
    plain = PurePosixPath(name)
    stem = str(plain.with_suffix("")) if plain.suffix.lower() in IMAGE_SUFFIXES else name
    for text in (name, stem):
        yield from (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))


def checked_labels(
    labels: Any, n: int, where: str, classes: Mapping[str, int] | None = None
) -> NDArray[np.int64]:
    """Check an array or dataset of labels.

    Args:
        labels: ``(n,)`` or ``(n, 1)``, of integers, or of text that names classes; or ``(n, C)``
            with a single 1 in each row, as one-hot labels have.
        n: number of images.
        where: name of the source in an error.
        classes: class index of each name.

    Returns:
        ``(n,)``.

    Raises:
        ImageError: it has another shape or type, a label is negative, or a name is not known.
    """
    shape, kind = labels.shape, labels.dtype.kind
    if len(shape) not in (1, 2) or shape[0] != n:
        raise ImageError(
            f"{where}: labels have shape {shape}, but there are {n} images; one label "
            f"per image, shape ({n},), was expected"
        )
    if len(shape) == 2 and shape[1] > 1:
        return _from_one_hot(labels, where)
    if kind in "US":
        return _from_texts(labels, where, classes)
    if kind not in "iu":
        raise ImageError(
            f"{where}: labels have type {labels.dtype}; integers were expected, save class indices"
        )
    values = np.asarray(labels[:]).reshape(n)
    outside = (values < 0) | (values > np.iinfo(np.int64).max)
    if outside.any():
        index = int(np.argmax(outside))
        raise ImageError(
            f"{where}: the label of image {index} is {values[index]}; a class index of at least 0 "
            "was expected"
        )
    return values.astype(np.int64)


def _from_one_hot(labels: Any, where: str) -> NDArray[np.int64]:
    """The column of the 1 in each row of ``(n, C)``."""
    n, columns = labels.shape
    step = max(_BLOCK_BYTES // (columns * labels.dtype.itemsize), 1)
    found: list[NDArray[np.intp]] = []
    for start in range(0, n, step):
        rows = np.asarray(labels[start : start + step])
        numeric = rows.dtype.kind in "iufb"
        good = (rows.astype(bool).sum(axis=1) == 1) & (rows.max(axis=1) == 1) if numeric else None
        if good is None or not good.all():
            index = start + (0 if good is None else int(np.argmin(good)))
            raise ImageError(
                f"{where}: labels have shape {labels.shape}, and that of image {index} is not "
                "one-hot (a single 1 among 0); save one class index per image"
            )
        found.append(rows.argmax(axis=1))
    return np.concatenate(found).astype(np.int64)


def _from_texts(labels: Any, where: str, classes: Mapping[str, int] | None) -> NDArray[np.int64]:
    """Class index of each text, ``(n,)`` or ``(n, 1)``."""
    indices: dict[str, int] = {}
    found: list[int] = []
    for start in range(0, labels.shape[0], 1024):
        for value in np.asarray(labels[start : start + 1024]).ravel().tolist():
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            if text not in indices:
                indices[text] = class_index(text, classes, f"{where}: image {len(found)}")
            found.append(indices[text])
    return np.array(found, dtype=np.int64)


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

"""Open an image source, whatever its kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.array_files import ARRAY_SUFFIXES, open_arrays
from iaside_onnx.images.arrays import ArraySource
from iaside_onnx.images.classes import ClassesLike, KnownClasses, find_classes, no_word
from iaside_onnx.images.encoded import EncodedSource
from iaside_onnx.images.folders import open_folder
from iaside_onnx.images.keys import SPLITS, Keys
from iaside_onnx.images.left_out import HIDDEN, LeftOut, suffix_of
from iaside_onnx.images.parquet import open_parquet
from iaside_onnx.images.source import ImageSource
from iaside_onnx.images.webdataset import open_tars

__all__ = ["ImagesLike", "open_images"]

_Opener: TypeAlias = Callable[[Sequence[Path], str, KnownClasses, Keys], EncodedSource]
_SHARDS: dict[str, _Opener] = {".parquet": open_parquet, ".tar": open_tars}
# The hub's naming scheme for the shards of a split.
_SPLIT = re.compile(r"(.+)-[0-9]{5}-of-[0-9]{5}")
_WORDS = re.compile(r"[^a-z]+")

ImagesLike: TypeAlias = "str | Path | NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]"
"""A folder or file of images, an array of images, or ``(images, labels)``."""


def open_images(
    source: ImagesLike,
    classes: ClassesLike | None = None,
    labels: NDArray[Any] | None = None,
    images_key: str | None = None,
    labels_key: str | None = None,
) -> ImageSource:
    """Open a source of images; no image is read yet.

    Args:
        source: a folder of class folders, a flat folder, a .npz, .npy, .h5, .hdf5, .parquet or .tar
            file, a folder of Parquet or tar shards, an array
            ``(n, height, width[, channels])``, or such an array with its labels.
        classes: class index of each name, as `check_classes` takes it; the path of a file with it;
            ``in-order``, where the source's own numbering is that of the model; or ``numbers``,
            where the names of class folders are class indices.
        labels: ``(n,)`` integers, for an array.
        images_key: name of the array or column of images, where it is not found by itself.
        labels_key: likewise of labels.

    Raises:
        ImageError: the source, the classes or the labels cannot be used.
    """
    known, keys = find_classes(classes), Keys(images_key, labels_key)
    if isinstance(source, tuple | np.ndarray):
        keys.refuse("an array in memory")
        names = no_word(known, "an array in memory")
        if isinstance(source, tuple):
            return _from_pair(source, names, labels)
        return _from_array(source, names, labels)
    if not isinstance(source, str | Path):
        raise ImageError(
            f"images of type {type(source).__name__} are not supported; give a path, an array, or "
            "(images, labels)"
        )
    if labels is not None:
        raise ImageError(
            "an array of labels needs an array of images; give the labels of image files as a file "
            "of labels, or as class folders"
        )
    return _from_path(Path(source), known, keys)


def _from_pair(
    pair: tuple[Any, ...], classes: dict[str, int] | None, labels: NDArray[Any] | None
) -> ArraySource:
    if len(pair) != 2 or labels is not None:
        raise ImageError("a tuple of images must be (images, labels), with no further labels")
    return _from_array(pair[0], classes, pair[1])


def _from_array(images: object, classes: dict[str, int] | None, labels: object) -> ArraySource:
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray | None):
        raise ImageError(
            f"images and labels must be NumPy arrays, found {type(images).__name__} and "
            f"{type(labels).__name__}; convert them with numpy.asarray"
        )
    return ArraySource(images, labels, "in memory", classes)


def _from_path(path: Path, classes: KnownClasses, keys: Keys) -> ImageSource:
    if path.is_dir():
        shards = _find_shards(path)
        if not shards:
            keys.refuse(str(path))
            return open_folder(path, classes)
        found = _SHARDS[shards[0].suffix](shards, str(path), classes, keys)
        found.notes = (*_beside(path, shards), *found.notes)
        return found
    if path.suffix.lower() in _SHARDS and path.is_file():
        return _SHARDS[path.suffix.lower()]([path], str(path), classes, keys)
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return open_arrays(path, no_word(classes, str(path)), keys)
    missing = "is neither a folder nor" if path.exists() else "does not exist; give a folder or"
    suffixes = ", ".join((*ARRAY_SUFFIXES, *_SHARDS))
    raise ImageError(f"{path} {missing} a file of images ({suffixes})")


def _find_shards(folder: Path) -> list[Path]:
    """List the Parquet or tar files of a folder, sorted; empty if it holds none.

    Raises:
        ImageError: the folder cannot be listed, has both kinds or several splits of a data set,
            or has Parquet files in a subfolder only.
    """
    try:
        shards = sorted(
            path
            for path in folder.iterdir()
            if path.suffix in _SHARDS and not path.name.startswith(".") and path.is_file()
        )
    except OSError as failure:
        raise ImageError(
            f"{folder} cannot be listed ({failure.strerror}); check its permissions"
        ) from None
    below = next(iter(sorted(folder.glob("*/*.parquet"))), None)
    if not shards and below is not None:
        raise ImageError(f"{folder} holds Parquet files in a subfolder; give {below.parent}")
    splits = {match[1] for path in shards if (match := _SPLIT.match(path.name))}
    # Shards of other makers, such as imagenet-train-000000.tar.
    words = {word for path in shards for word in _WORDS.split(path.stem.lower()) if word in SPLITS}
    if len(words) > 1:
        splits = words
    if len({path.suffix for path in shards}) > 1 or len(splits) > 1:
        names = ", ".join(path.name for path in shards[:4])
        raise ImageError(
            f"{folder} holds several data sets or splits ({names}, ...); give one file, or a "
            "folder with the shards of one"
        )
    return shards


def _beside(folder: Path, shards: Sequence[Path]) -> tuple[str, ...]:
    """What a folder of shards holds besides, which is not read."""
    left_out = LeftOut()
    for path in sorted(set(folder.iterdir()) - set(shards)):
        if path.name.startswith("."):
            left_out.add(HIDDEN, path.name)
        elif path.is_dir():
            left_out.add("folders", f"{path.name}/")
        else:
            left_out.add(suffix_of(path.name), path.name)
    return left_out.notes(f"folder {folder.name or folder}")

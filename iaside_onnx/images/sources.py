"""One door to all sources of images."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.arrays import ARRAY_SUFFIXES, ArraySource, open_arrays
from iaside_onnx.images.folders import open_folder
from iaside_onnx.images.labels import check_classes, read_classes
from iaside_onnx.images.parquet import open_parquet
from iaside_onnx.images.sample import ImageSource, Sample
from iaside_onnx.images.webdataset import open_tars

__all__ = ["ImageSource", "ImagesLike", "Sample", "open_images"]

_Opener: TypeAlias = Callable[[Sequence[Path], str, "dict[str, int] | None"], ImageSource]
_SHARDS: dict[str, _Opener] = {".parquet": open_parquet, ".tar": open_tars}
# How the hub names the shards of a split.
_SPLIT = re.compile(r"(.+)-[0-9]{5}-of-[0-9]{5}")

ImagesLike: TypeAlias = "str | Path | NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]"
"""A folder, a file of arrays, an array of images, or images with their labels."""


def open_images(
    source: ImagesLike,
    classes: Path | Mapping[str, int] | None = None,
    labels: NDArray[Any] | None = None,
) -> ImageSource:
    """Look at a source of images, and read none of them yet.

    Args:
        source: A folder of class folders, a flat folder, a .npz, .npy, .h5, .hdf5, .parquet or .tar
            file, a folder of Parquet or tar shards, an array
            ``(n, height, width[, channels])``, or such an array with its labels.
        classes: Class index of each name, or a JSON file of it; of each folder for class folders.
        labels: ``(n,)`` integers, for an array.

    Raises:
        ImageError: The source, the classes or the labels cannot be used.
    """
    known = None
    if classes is not None:
        known = (
            read_classes(classes)
            if isinstance(classes, Path)
            else check_classes(classes, "classes")
        )
    if isinstance(source, tuple):
        return _from_pair(source, known, labels)
    if isinstance(source, np.ndarray):
        return _from_array(source, known, labels)
    if not isinstance(source, str | Path):
        raise ImageError(
            f"Images of type {type(source).__name__} are not understood; give a path, an array, or "
            "(images, labels)."
        )
    if labels is not None:
        raise ImageError(
            "A labels array goes with an array of images only; give the labels of files as a file "
            "of labels, or in folders of classes."
        )
    return _from_path(Path(source), known)


def _from_pair(
    pair: tuple[Any, ...], classes: dict[str, int] | None, labels: NDArray[Any] | None
) -> ArraySource:
    if len(pair) != 2 or labels is not None:
        raise ImageError("A tuple of images must be (images, labels), with no further labels.")
    return _from_array(pair[0], classes, pair[1])


def _from_array(images: object, classes: dict[str, int] | None, labels: object) -> ArraySource:
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray | None):
        raise ImageError(
            f"Images and labels must be NumPy arrays, found {type(images).__name__} and "
            f"{type(labels).__name__}; convert them with numpy.asarray."
        )
    return ArraySource(images, labels, "in memory", classes)


def _from_path(path: Path, classes: dict[str, int] | None) -> ImageSource:
    if path.is_dir():
        shards = find_shards(path)
        if not shards:
            return open_folder(path, classes)
        return _SHARDS[shards[0].suffix](shards, str(path), classes)
    if path.suffix.lower() in _SHARDS and path.is_file():
        return _SHARDS[path.suffix.lower()]([path], str(path), classes)
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return open_arrays(path, classes)
    found = "is neither a folder nor" if path.exists() else "does not exist; give a folder or"
    suffixes = ", ".join((*ARRAY_SUFFIXES, *_SHARDS))
    raise ImageError(f"{path} {found} a file of images ({suffixes}).")


def find_shards(folder: Path) -> list[Path]:
    """The Parquet or tar files that a folder holds, in order; none where it holds images.

    Raises:
        ImageError: There are both kinds, or several splits of a data set.
    """
    try:
        shards = sorted(
            path
            for path in folder.iterdir()
            if path.suffix in _SHARDS and not path.name.startswith(".") and path.is_file()
        )
    except OSError as failure:
        raise ImageError(f"{folder} cannot be listed ({failure.strerror}); check it.") from None
    below = next(iter(sorted(folder.glob("*/*.parquet"))), None)
    if not shards and below is not None:
        raise ImageError(f"{folder} holds Parquet files in a folder: give {below.parent}.")
    splits = {match[1] for path in shards if (match := _SPLIT.match(path.name))}
    if len({path.suffix for path in shards}) > 1 or len(splits) > 1:
        names = ", ".join(path.name for path in shards[:4])
        raise ImageError(
            f"{folder} holds several data sets or splits ({names}, ...); give one file, or a "
            "folder with the shards of one."
        )
    return shards

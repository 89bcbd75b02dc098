"""Images and labels in HDF5 files of strangers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.arrays import ArrayLike
from iaside_onnx.images.keys import Keys, choose_keys

__all__ = ["open_datasets"]

# HDF5 decompresses a whole chunk to read one image of it.
_MAX_CHUNK_BYTES = 2**30
# Largest compression ratio of the filters that every HDF5 library has.
_MAX_EXPANSION = 1100
# Texts of any length, of which each may be as long as the file.
_MAX_TEXT_BYTES = 2**28
_MAX_NAMES = 10_000


def open_datasets(
    path: Path, keys: Keys
) -> tuple[ArrayLike, ArrayLike | None, Sequence[str], Sequence[str]]:
    """Open the datasets of images and of labels.

    Returns:
        Images, labels if there are any, the names of both, and those of the other datasets.

    Raises:
        ImageError: there is no such dataset, or it cannot be read safely.
        OSError: (or another that h5py raises) the file is damaged.
    """
    from iaside_onnx.hdf5 import open_hdf5

    # Stays open as long as the source is used.
    file = open_hdf5(path)
    names = _names(file, keys)
    images, labels = choose_keys(names, keys, str(path))
    return (
        _dataset(file, images, path),
        None if labels is None else _dataset(file, labels, path, texts=True),
        [name for name in (images, labels) if name is not None],
        [name for name in names if name not in (images, labels)],
    )


def _names(file: Any, keys: Keys) -> list[str]:
    """Names in the file and in its groups, one level down, and those that were given."""
    import h5py

    names: list[str] = []
    for name in file:
        group = isinstance(file.get(name, getlink=True), h5py.HardLink) and file[name]
        if isinstance(group, h5py.Group):
            inner = [f"{name}/{one}" for one in group] or [name]
            names += inner[: _MAX_NAMES - len(names)]
        elif len(names) < _MAX_NAMES:
            names.append(name)
    given = [key for key in (keys.images, keys.labels) if key and key not in names and key in file]
    return names + given


class _Texts:
    """A dataset of texts of any length, ``(n,)`` or ``(n, 1)``, read in parts of limited size."""

    def __init__(self, dataset: Any, step: int) -> None:
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype[Any] = np.dtype("U1")
        self._dataset = dataset
        self._step = step

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        found: list[Any] = []
        start, stop, _ = rows.indices(self.shape[0])
        for first in range(start, stop, self._step):
            found += np.ravel(self._dataset[first : min(first + self._step, stop)]).tolist()
        return np.array(found, dtype=object)


def _dataset(file: Any, name: str, path: Path, *, texts: bool = False) -> ArrayLike:
    """A dataset whose values are all stored in this file.

    Raises:
        ImageError: it is not a dataset, is stored elsewhere, holds objects, has too large chunks,
            or claims more values than the stored bytes can hold.
    """
    import h5py

    # Each group on the way may be a link, too.
    parts = [part for part in name.split("/") if part]
    plain = all(
        isinstance(file.get("/".join(parts[: i + 1]), getlink=True), h5py.HardLink)
        for i in range(len(parts))
    )
    if plain and not isinstance(file[name], h5py.Dataset):
        raise ImageError(f"{path}: {name} is not a dataset; save an array under this name")
    if not plain or file[name].external or file[name].is_virtual:
        raise ImageError(
            f"{path}: {name} is stored in another file (a link, external storage or a virtual "
            "dataset), which is not followed; copy the values into this file"
        )
    dataset: ArrayLike = file[name]
    if dataset.dtype.hasobject:
        if texts and h5py.check_string_dtype(dataset.dtype) is not None:
            return _Texts(dataset, max(_MAX_TEXT_BYTES // (path.stat().st_size + 1), 1))
        raise ImageError(
            f"{path}: {name} holds Python objects, which are not read; save a plain array, "
            "uint8 or float in [0, 1]"
        )
    _check_size(file[name], f"{path}: {name}")
    return dataset


def _check_size(dataset: Any, where: str) -> None:
    """Refuse a dataset of which a part takes too much memory, or that claims what is not stored.

    Raises:
        ImageError: its chunks are too large, or the stored bytes cannot hold its values.
    """
    chunks = dataset.chunks or (1,)
    size = dataset.dtype.itemsize
    for side in chunks:
        size *= side
    if size > _MAX_CHUNK_BYTES:
        raise ImageError(
            f"{where} has chunks of {size} bytes, over the limit of {_MAX_CHUNK_BYTES}; "
            "save it with one image per chunk"
        )
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > _MAX_EXPANSION * stored and _is_built_in(dataset):
        raise ImageError(
            f"{where} of shape {dataset.shape} is incomplete: only {stored} bytes are "
            "stored; create the file again"
        )


def _is_built_in(dataset: Any) -> bool:
    """Whether only gzip, shuffle and checksums are applied; other filters may compress more."""
    properties = dataset.id.get_create_plist()
    return all(properties.get_filter(i)[0] <= 3 for i in range(properties.get_nfilters()))

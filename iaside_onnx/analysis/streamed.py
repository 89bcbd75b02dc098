"""A large variable of an archive as an xarray array that is read where it is used.

Needs xarray on import, as the class must be one that pickle finds: Dask sends it to its workers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from iaside_onnx.archive import ArchiveFile

__all__ = ["streamed"]


def streamed(archive: ArchiveFile, name: str) -> indexing.LazilyIndexedArray:
    """A streamed variable; each access opens the file, reads what is asked for and closes it."""
    return indexing.LazilyIndexedArray(_Streamed(archive, name))


class _Streamed(BackendArray):
    """What xarray's documentation, "How to add a new backend", asks of lazy arrays."""

    def __init__(self, archive: ArchiveFile, name: str) -> None:
        variable = archive.declared[name]
        self._archive, self._name = archive, name
        self.shape = tuple(map(archive.size, variable.dims))
        self.dtype = np.dtype(variable.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[int | slice, ...]) -> Any:
        return self._archive.part(self._name, key)

"""Tables in long form over the variables of an archive, read block by block."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import ArchiveFile

__all__ = ["LongTable"]

# Memory of a block, and of a cell as a Python object beside its bytes in an array.
_BLOCK_BYTES, _CELL_BYTES = 1 << 24, 64


@dataclass(frozen=True)
class LongTable:
    """A table with a row for each element of the variable with the most axes.

    A value of a streamed variable that was not evaluated has no row.

    Attributes:
        archive: what it is read from.
        columns: names of the variables that are the columns.
    """

    archive: ArchiveFile
    columns: Sequence[str]

    @property
    def units(self) -> dict[str, str]:
        """Unit of each column, by the name of its variable."""
        return {column: self.archive.declared[column].units for column in self.columns}

    def texts(self) -> list[str]:
        """The columns that hold text."""
        return [name for name in self.columns if name in self.archive.text_names]

    def blocks(
        self, columns: Collection[str] | None = None
    ) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Consecutive rows of the table, each block in little memory, whatever the archive holds.

        Args:
            columns: the columns that are wanted; None for all.
        """
        declared = self.archive.declared
        widest = max(self.columns, key=lambda column: len(declared[column].dims))
        dims = declared[widest].dims
        gaps = [c for c in self.columns if declared[c].streamed and declared[c].dtype[0] == "f"]
        wanted = list(self.columns if columns is None else columns)
        for rows in self.archive.pieces(widest):
            whole = {c: self._rows(c, dims, rows) for c in {*wanted, *gaps}}
            shape = (rows.stop - rows.start, *(self.archive.size(dim) for dim in dims[1:]))
            cell = sum(values.dtype.itemsize + _CELL_BYTES for values in whole.values())
            for part in _parts(shape, max(_BLOCK_BYTES // cell, 1)):
                flat = {c: _flat(values, shape, part) for c, values in whole.items()}
                kept = ~np.any([np.isnan(flat[c]) for c in gaps], axis=0) if gaps else slice(None)
                yield {c: flat[c][kept] for c in wanted}

    def _rows(self, name: str, dims: tuple[str, ...], rows: slice) -> NDArray[Any]:
        """A range of rows of a variable, with length 1 for each axis of the table it lacks."""
        own = self.archive.declared[name].dims
        archive = self.archive
        values = archive.rows(name, rows.start, rows.stop) if own[0] == dims[0] else archive[name]
        sizes = iter(values.shape)
        return values.reshape([next(sizes) if dim in own else 1 for dim in dims])


def _parts(shape: tuple[int, ...], cells: int) -> Iterator[tuple[slice, ...]]:
    """Cut an array, in C order, into parts of at most so many cells."""
    steps = []
    for axis, size in enumerate(shape):
        # As many of this axis as fit together with all of the axes behind it.
        steps.append(int(np.clip(cells // math.prod(shape[axis + 1 :]), 1, size)))
    axes = [
        [slice(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(shape, steps, strict=True)
    ]
    yield from product(*axes)


def _flat(values: NDArray[Any], shape: tuple[int, ...], part: tuple[slice, ...]) -> NDArray[Any]:
    """A part of an array that is repeated along the axes on which it has length 1."""
    return np.asarray(np.broadcast_to(values, shape)[part].ravel())

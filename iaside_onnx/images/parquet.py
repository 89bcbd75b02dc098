"""Parquet files with the image struct of the Hugging Face hub, read a few rows at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.classes import KnownClasses
from iaside_onnx.images.encoded import EncodedSource, check_length
from iaside_onnx.images.keys import Keys
from iaside_onnx.images.parquet_columns import (
    ParquetFile,
    image_column,
    is_struct,
    read_labels,
    stored_names,
)
from iaside_onnx.images.source import numbered

__all__ = ["ParquetSource", "open_parquet"]

_BATCH_ROWS = 16
_BATCHES_KEPT = 4


class ParquetSource(EncodedSource):
    """The images of one or more Parquet files, in the order of the files."""

    def __init__(
        self,
        files: Sequence[ParquetFile],
        column: str,
        labels: NDArray[np.int64] | None,
        classes: dict[str, int] | None,
        where: str,
        hint: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        self.where = where
        self.starts = np.cumsum([0, *(file.rows for file in files)])
        n = int(self.starts[-1])
        ids = stored_names(files, column, n) or numbered(n)
        title = f"Parquet {Path(where).name}{hint}"
        super().__init__("parquet", title, ids, labels, classes, notes)
        self._rows = _Rows(files, column)

    def encoded(self, index: int) -> bytes:
        """Read the encoded image of one row.

        Raises:
            ImageError: the file is damaged at this row, or the row is null.
        """
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        try:
            data = self._rows.at(number, index - int(self.starts[number]))
        except (OSError, ValueError, RuntimeError) as failure:
            reason = " ".join(str(failure).split())
            raise ImageError(
                f"{self.name(index)} cannot be read ({reason}); the file is damaged, create it "
                "again"
            ) from None
        if data is None:
            raise ImageError(
                f"{self.name(index)} has no bytes in the file, and paths to other files are not "
                "followed; save the images in the Parquet file"
            )
        check_length(len(data), self.name(index))
        return data

    def name(self, index: int) -> str:
        """The source and the id of one image."""
        return f"{self.where}: image {self.ids[index]}"


def open_parquet(
    paths: Sequence[Path], where: str, classes: KnownClasses, keys: Keys | None = None
) -> ParquetSource:
    """Open Parquet files and read their labels and image names.

    The images are a column of structs with ``bytes`` and ``path``, or of encoded files. The labels
    are the column ``label``, or the only column that the files' metadata declare a class label or
    that has a usual name, such as ``labels`` or ``cls``.

    Args:
        paths: the files, in order.
        where: name of all files together, for errors.
        classes: class index of each name, for labels that are names, also names that the metadata
            give to integers.
        keys: names of the columns, if they are others.

    Raises:
        ImageError: a file is not a Parquet file, is damaged, or has no images; a label is not among
            the classes given.
        ExtraMissingError: PyArrow is not installed.
    """
    keys = keys or Keys()
    files = [ParquetFile(path) for path in paths]
    first = files[0]
    column, notes = image_column(first, keys.images)
    for file in files[1:]:
        if file.type_of(column) != first.type_of(column):
            raise ImageError(
                f"{file.path}: its columns differ from those of {first.path}; give files of one "
                "data set"
            )
    if not sum(file.rows for file in files):
        raise ImageError(f"{where}: there are no images; give a file that has rows")
    labels, names, hint = read_labels(files, where, classes, keys.labels)
    return ParquetSource(files, column, labels, names, where, hint, notes)


class _Rows:
    """Thread-safe access to encoded images by row.

    The file is streamed in batches, of which the last few are kept: reading rows in order, also by
    several threads, reads each file once. An earlier row restarts its row group.
    """

    def __init__(self, files: Sequence[ParquetFile], column: str) -> None:
        self._files = files
        self._columns = [f"{column}.bytes" if is_struct(files[0], column) else column]
        self._lock = threading.Lock()
        self._group: tuple[int, int] = (-1, -1)
        self._next = 0
        self._batches: Iterator[Any] = iter(())
        self._kept: deque[tuple[int, Any]] = deque(maxlen=_BATCHES_KEPT)

    def at(self, number: int, row: int) -> bytes | None:
        """Bytes of row ``row`` of file ``number``; None if the row is null."""
        group = 0
        for rows in self._files[number].groups:
            if row < rows:
                break
            row -= rows
            group += 1
        with self._lock:
            if self._group != (number, group):
                self._open(number, group)
            return self._in_group(number, group, row)

    def _in_group(self, number: int, group: int, row: int) -> bytes | None:
        for start, values in self._kept:
            if start <= row < start + len(values):
                return self._value(values[row - start])
        if row < self._next:
            self._open(number, group)
        for batch in self._batches:
            start, self._next = self._next, self._next + batch.num_rows
            self._kept.append((start, batch.column(0)))
            if row < self._next:
                return self._value(batch.column(0)[row - start])
        raise ValueError("it has fewer rows than its metadata says")

    def _open(self, number: int, group: int) -> None:
        self._kept.clear()
        self._group, self._next = (number, group), 0
        self._batches = self._files[number].file.iter_batches(
            batch_size=_BATCH_ROWS, row_groups=[group], columns=self._columns
        )

    @staticmethod
    def _value(scalar: Any) -> bytes | None:
        value: Any = scalar.as_py()
        data: bytes | None = value["bytes"] if isinstance(value, dict) else value
        return data

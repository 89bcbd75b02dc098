"""Parquet files with the image struct of the Hugging Face hub, read a few rows at a time."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ExtraMissingError, ImageError
from iaside_onnx.images.encoded import EncodedSource, check_length
from iaside_onnx.images.labels import checked_labels
from iaside_onnx.images.source import numbered

__all__ = ["ParquetSource", "open_parquet"]

_BUFFER_BYTES = 2**20
_BATCH_ROWS = 16
_BATCHES_KEPT = 4


class ParquetSource(EncodedSource):
    """The images of one or more Parquet files, in the order of the files."""

    def __init__(
        self,
        files: Sequence[_File],
        column: str,
        labels: NDArray[np.int64] | None,
        classes: dict[str, int] | None,
        where: str,
    ) -> None:
        self.where = where
        self.starts = np.cumsum([0, *(file.rows for file in files)])
        ids = _ids(files, column, int(self.starts[-1]))
        title = f"Parquet {Path(where).name}"
        if labels is None and classes is None and _are_names(files[0]):
            title += ", whose labels are names that need `classes=FILE`"
        super().__init__("parquet", title, ids, labels, classes)
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
    paths: Sequence[Path], where: str, classes: dict[str, int] | None
) -> ParquetSource:
    """Open Parquet files and read their labels and image names.

    The images are a column of structs with ``bytes`` and ``path``. The labels are the column
    ``label``, or the only column that the files' metadata declare a class label.

    Args:
        paths: the files, in order.
        where: name of all files together, for errors.
        classes: class index of each name, for labels that are names.

    Raises:
        ImageError: a file is not a Parquet file, is damaged, or has no images.
        ExtraMissingError: PyArrow is not installed.
    """
    files = [_File(path) for path in paths]
    first = files[0]
    column = _image_column(first)
    for file in files[1:]:
        if file.schema.field(column).type != first.schema.field(column).type:
            raise ImageError(
                f"{file.path}: its columns differ from those of {first.path}; give files of one "
                "data set"
            )
    if not sum(file.rows for file in files):
        raise ImageError(f"{where}: there are no images; give a file that has rows")
    labels, names = _labels(files, where, classes)
    return ParquetSource(files, column, labels, classes if classes is not None else names, where)


class _File:
    """One open file: its schema, and the number of rows of each row group."""

    def __init__(self, path: Path) -> None:
        parquet, arrow = _import()
        self.path = path
        try:
            # Without a buffer, PyArrow reads a whole row group to access one of its images.
            self.file = parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except FileNotFoundError:
            raise ImageError(f"{path} does not exist; check the path") from None
        except (OSError, ValueError, arrow.ArrowException) as failure:
            reason = " ".join(str(failure).split())
            raise ImageError(
                f"{path} is not a Parquet file, or is damaged ({reason}); create it again"
            ) from None
        self.schema = self.file.schema_arrow
        metadata = self.file.metadata
        self.groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self.rows = sum(self.groups)

    def column(self, name: str) -> Iterator[Any]:
        """Stream the batches of one column."""
        for batch in self.file.iter_batches(batch_size=4096, columns=[name]):
            yield from batch.columns


class _Rows:
    """Thread-safe access to encoded images by row.

    The file is streamed in batches, of which the last few are kept: reading rows in order, also by
    several threads, reads each file once. An earlier row restarts its row group.
    """

    def __init__(self, files: Sequence[_File], column: str) -> None:
        self._files = files
        self._column = column
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
            batch_size=_BATCH_ROWS, row_groups=[group], columns=[f"{self._column}.bytes"]
        )

    @staticmethod
    def _value(scalar: Any) -> bytes | None:
        struct = scalar.as_py()
        return None if struct is None else struct["bytes"]


def _import() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExtraMissingError(
            f"Parquet files need PyArrow ({error}): pip install 'iaside-onnx[parquet]'"
        ) from error
    return parquet, pyarrow


def _image_column(file: _File) -> str:
    _, arrow = _import()
    found = [
        field.name
        for field in file.schema
        if arrow.types.is_struct(field.type)
        and (index := field.type.get_field_index("bytes")) >= 0
        and (
            arrow.types.is_binary(field.type.field(index).type)
            or arrow.types.is_large_binary(field.type.field(index).type)
        )
    ]
    if len(found) > 1 and "image" in found:
        found = ["image"]
    if len(found) != 1:
        columns = ", ".join(f"{field.name} {field.type}" for field in file.schema)[:300]
        count = "several columns" if found else "no column"
        raise ImageError(
            f"{file.path} has {count} of images, that is of structs with bytes and path as in "
            f"the hub's data sets (it has {columns}); save the images as one column, image"
        )
    return str(found[0])


def _ids(files: Sequence[_File], column: str, n: int) -> Sequence[str]:
    """The images' stored paths; their indices if a path is missing or repeated."""
    kind = files[0].schema.field(column).type
    if kind.get_field_index("path") >= 0:
        names: list[str] = [
            value.as_py()["path"] if value.is_valid else ""
            for file in files
            for batch in file.column(f"{column}.path")
            for value in batch
        ]
        if all(isinstance(name, str) and name for name in names) and len(set(names)) == n:
            return names
    return numbered(n)


def _labels(
    files: Sequence[_File], where: str, classes: dict[str, int] | None
) -> tuple[NDArray[np.int64] | None, dict[str, int] | None]:
    """Labels, and class index of each name if the files' metadata declare them."""
    declared = _class_labels(files[0])
    names = files[0].schema.names
    column = (
        "label" if "label" in names else next(iter(declared), None) if len(declared) == 1 else None
    )
    if column is None:
        labelled = [file.path for file in files if "label" in file.schema.names]
        if labelled:
            raise ImageError(
                f"{labelled[0]} has labels, and {files[0].path} has none; give files of one data "
                "set"
            )
        return None, None
    for file in files:
        if column not in file.schema.names or (
            file.schema.field(column).type != files[0].schema.field(column).type
        ):
            raise ImageError(
                f"{file.path} has no labels {column!r} of the type that {files[0].path} has; give "
                "files of one data set"
            )
    known = declared.get(column)
    names_only = _are_names(files[0], column)
    if names_only and classes is None:
        return None, None
    values = [value for file in files for batch in file.column(column) for value in batch]
    if names_only and classes is not None:
        missing = {value.as_py() for value in values} - classes.keys()
        if missing:
            raise ImageError(
                f"{where}: the label {min(map(str, missing))!r} is not in the classes given; add it"
            )
        return np.array([classes[value.as_py()] for value in values], dtype=np.int64), None
    if any(not value.is_valid for value in values):
        raise ImageError(f"{where}: some labels are missing; save one for each image")
    found = np.array([value.as_py() for value in values])
    # On the hub, -1 marks the labels of a test set as withheld.
    if found.dtype.kind == "i" and (found == -1).all():
        return None, known
    return checked_labels(found, len(found), where), known


def _are_names(file: _File, column: str = "label") -> bool:
    """Whether the labels are text."""
    _, arrow = _import()
    if column not in file.schema.names:
        return False
    kind = file.schema.field(column).type
    return bool(arrow.types.is_string(kind) or arrow.types.is_large_string(kind))


def _class_labels(file: _File) -> dict[str, dict[str, int] | None]:
    """Columns that the hub's metadata declare class labels, with the class index of each name."""
    try:
        features = json.loads((file.schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: {str(name): index for index, name in enumerate(feature["names"])}
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        # The metadata are optional, and any program may have written them.
        return {}

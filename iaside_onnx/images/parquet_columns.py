"""Parquet files: the columns of images and of labels, and what they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ExtraMissingError, ImageError, install_extra
from iaside_onnx.images.classes import KnownClasses, class_index, named, no_word
from iaside_onnx.images.keys import images_and_labels
from iaside_onnx.images.labels import checked_labels

__all__ = ["ParquetFile", "image_column", "is_struct", "read_labels", "stored_names"]

_BUFFER_BYTES = 2**20


class ParquetFile:
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

    def type_of(self, name: str) -> Any:
        """Type of a column; None if there is none of this name."""
        return self.schema.field(name).type if name in self.schema.names else None

    def column(self, name: str) -> Iterator[Any]:
        """Stream the batches of one column."""
        for batch in self.file.iter_batches(batch_size=4096, columns=[name]):
            yield from batch.columns


def _import() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExtraMissingError(
            f"Parquet files need PyArrow ({error}): {install_extra('parquet')}"
        ) from error
    return parquet, pyarrow


def image_column(file: ParquetFile, key: str | None) -> tuple[str, tuple[str, ...]]:
    """The column of images, and what is to be said of others.

    Args:
        file: the first file.
        key: its name, if the user gave one.

    Raises:
        ImageError: there is none, or it is unclear which one is meant.
    """
    structs = [name for name in file.schema.names if is_struct(file, name)]
    plain = [name for name in file.schema.names if _is_bytes(file.type_of(name))]
    found = structs or plain
    if key is not None:
        found = [key] if key in (*structs, *plain) else []
    elif len(found) > 1:
        found = [name for name in found if name == "image"] or found
    if len(found) != 1:
        columns = ", ".join(f"{field.name} {field.type}" for field in file.schema)[:300]
        count = f"no column {key!r}" if key else "several columns" if found else "no column"
        raise ImageError(
            f"{file.path} has {count} of images, that is of structs with bytes and path as in "
            f"the hub's data sets, or of encoded files (it has {columns}); save the images as one "
            "column, image, or choose one with `images_key=`"
        )
    others = [name for name in structs or plain if name != found[0]]
    notes = (f"left out of {file.path}: columns of images: {', '.join(others)}",) if others else ()
    return found[0], notes


def is_struct(file: ParquetFile, name: str) -> bool:
    """Whether a column holds structs with ``bytes``, as the hub's data sets do."""
    _, arrow = _import()
    kind = file.type_of(name)
    if not arrow.types.is_struct(kind):
        return False
    index = kind.get_field_index("bytes")
    return index >= 0 and _is_bytes(kind.field(index).type)


def _is_bytes(kind: Any) -> bool:
    _, arrow = _import()
    return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))


def stored_names(files: Sequence[ParquetFile], column: str, n: int) -> Sequence[str] | None:
    """The images' stored paths; None if one is missing or repeated."""
    kind = files[0].type_of(column)
    if is_struct(files[0], column) and kind.get_field_index("path") >= 0:
        names: list[str] = [
            value.as_py()["path"] if value.is_valid else ""
            for file in files
            for batch in file.column(f"{column}.path")
            for value in batch
        ]
        if all(isinstance(name, str) and name for name in names) and len(set(names)) == n:
            return names
    return None


def read_labels(
    files: Sequence[ParquetFile], where: str, classes: KnownClasses, key: str | None
) -> tuple[NDArray[np.int64] | None, dict[str, int] | None, str]:
    """Labels, class index of each name, and what `describe` says where labels cannot be read.

    Args:
        files: all files.
        where: name of all files together, for errors.
        classes: what the user gave.
        key: name of the column, if the user gave one.

    Raises:
        ImageError: the files differ, or labels are missing or not among the classes.
    """
    # The order of the metadata is one; folders that are named by numbers there are none.
    given = None if classes == "in-order" else no_word(classes, where)
    declared = _class_labels(files[0])
    column, hint = _label_column(files, declared, key)
    if column is None:
        return None, given, hint
    for file in files:
        if file.type_of(column) != files[0].type_of(column):
            raise ImageError(
                f"{file.path} has no labels {column!r} of the type that {files[0].path} has; give "
                "files of one data set"
            )
    values = [value.as_py() for file in files for batch in file.column(column) for value in batch]
    if any(value is None for value in values):
        raise ImageError(f"{where}: some labels are missing; save one for each image")
    own = declared.get(column)
    if isinstance(values[0], str):
        known = own if given is None else given
        if known is None and not all(value.isdecimal() for value in set(values)):
            return None, None, ", whose labels are names that need `classes=FILE`"
        indices = {text: class_index(text, known, where) for text in dict.fromkeys(values)}
        return np.array([indices[text] for text in values], dtype=np.int64), known, ""
    found = np.array(values)
    # On the hub, -1 marks the labels of a test set as withheld.
    if found.dtype.kind == "i" and (found == -1).all():
        return None, own, ""
    labels = checked_labels(found, len(found), where)
    if own is None or given is None:
        return labels, own if given is None else given, ""
    return _renumbered(labels, own, given, where), given, ""


def _renumbered(
    labels: NDArray[np.int64], own: Mapping[str, int], given: Mapping[str, int], where: str
) -> NDArray[np.int64]:
    """The class index, in the classes given, of the name that the metadata give to each label."""
    names = {index: name for name, index in own.items()}
    new: dict[int, int] = {}
    for label in np.unique(labels).tolist():
        index = named(names[label], given) if label in names else None
        if index is None:
            raise ImageError(
                f"{where}: the label {names.get(label, label)!r} is not in the classes given; "
                "add it"
            )
        new[label] = index
    return np.array([new[label] for label in labels.tolist()], dtype=np.int64)


def _label_column(
    files: Sequence[ParquetFile], declared: Mapping[str, object], key: str | None
) -> tuple[str | None, str]:
    """The column of labels, if any, and what `describe` says if it is unclear which it is."""
    first = files[0]
    if key is not None:
        if key not in first.schema.names:
            columns = ", ".join(first.schema.names)[:300]
            raise ImageError(f"{first.path} has no column {key!r}; it has {columns}")
        return key, ""
    if "label" in first.schema.names:
        return "label", ""
    usual = [*images_and_labels(first.schema.names)[1], "fine_label", "coarse_label"]
    found = [
        name
        for name in first.schema.names
        if name in declared or (name in usual and _is_label(first.type_of(name)))
    ]
    if len(found) > 1:
        return None, f", whose labels may be {', '.join(found)}: choose one with `labels_key=`"
    if found:
        return found[0], ""
    labelled = [file.path for file in files if "label" in file.schema.names]
    if labelled:
        raise ImageError(
            f"{labelled[0]} has labels, and {first.path} has none; give files of one data set"
        )
    return None, ""


def _is_label(kind: Any) -> bool:
    """Whether a column holds whole numbers or text."""
    _, arrow = _import()
    types = arrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))


def _class_labels(file: ParquetFile) -> dict[str, dict[str, int]]:
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

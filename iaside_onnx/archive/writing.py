"""Writing an archive: the one file that a finished run leaves."""

from __future__ import annotations

import io
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive.datasets import add_variable, encode, set_text
from iaside_onnx.archive.digest import DIGEST, digest_of
from iaside_onnx.archive.metadata import Metadata, attributes_of
from iaside_onnx.archive.reading import FIRST_KIND, KIND
from iaside_onnx.archive.schema import TEXT, Schema, Variable
from iaside_onnx.archive.shards import Failure, Workspace
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.files import finished_file
from iaside_onnx.outputs import check_output_file, check_target

__all__ = ["Rows", "check_output", "failed_variables", "write_archive"]

Rows = Mapping[str, NDArray[Any]]
"""Streamed variables by name: the rows of some consecutive images."""

_HEADROOM = 1 << 18
# An attribute that archives of all kinds have; also damaged ones can be recognised by it.
_MARKS = (b"tool_version",)
# The format of HDF5 1.10, of 2016, is the first with a checksum in nearly every structure. On
# damaged files of older formats HDF5 crashes or never returns. It takes a third of their space.
_FORMAT = ("v110", "v110")


def check_output(output: Path, inputs: Iterable[object]) -> None:
    """Check before the work starts that the archive can be written.

    Args:
        output: the archive to be written.
        inputs: paths of inputs; objects that are not paths are ignored.

    Raises:
        OptionError: if the output is one of the inputs, or its name cannot be used.
        ArchiveError: if no file can be written there, or something that is no archive is there.
    """
    check_target(output)
    paths = [Path(path) for path in inputs if isinstance(path, str | Path)]
    if output.exists() and any(path.exists() and output.samefile(path) for path in paths):
        raise OptionError(f"{output}: is one of the inputs; write the archive elsewhere")
    # An archive that is there is compared with the run later, and not replaced unasked.
    check_output_file(output, _MARKS, overwrite=True, may_stay=True, error=ArchiveError)


def failed_variables(failures: Sequence[Failure]) -> dict[str, Any]:
    """The variables that name the failed images; empty if there are none."""
    if not failures:
        return {}
    return {
        "failed": np.array([failure.position for failure in failures]),
        "failed_id": [failure.image_id for failure in failures],
        "failed_reason": [failure.reason for failure in failures],
    }


def write_archive(
    workspace: Workspace,
    schema: Schema,
    values: Mapping[str, Any],
    metadata: Metadata,
    rows: Iterable[Rows],
) -> None:
    """Write the archive as a whole or not at all.

    Args:
        workspace: work folder of the run, locked; its output is written.
        schema: schema of the kind of archive.
        values: all variables but the streamed ones, by their name in the schema; at least one
            image; text as a list or an array of str.
        metadata: the root attributes; a digest is added.
        rows: the streamed variables, in blocks of consecutive images.

    Raises:
        ArchiveError: if the file system refuses; the shards are kept.
    """
    output = workspace.output
    declared = schema.of(values)
    encoded = {
        name: encode(list(map(str, value))) if declared[name].dtype == TEXT else np.asarray(value)
        for name, value in values.items()
    }
    streamed = {
        name: tuple(encoded[dim].size for dim in variable.dims)
        for name, variable in declared.items()
        if variable.streamed
    }
    needed = _HEADROOM + sum(value.nbytes for value in encoded.values())
    needed += sum(
        math.prod(shape) * np.dtype(declared[name].dtype).itemsize
        for name, shape in streamed.items()
    )
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise ArchiveError(
            f"{output}: the disk is full: {needed} bytes are needed and {free} are free; what is "
            "finished is kept: make room and run the same command again"
        )
    # If the process is killed, the temporary file is removed with the work folder.
    with finished_file(output, workspace.folder) as temporary:
        _reserve(temporary, needed)
        with h5py.File(temporary, "r+", libver=_FORMAT, locking=False) as file:
            _write_values(file, declared, encoded)
            for name, shape in streamed.items():
                add_variable(file, name, declared[name], shape=shape)
            _write_attributes(file, schema, metadata)
            _write_rows(file, rows)
            set_text(file, DIGEST, digest_of(file))


def _reserve(path: Path, size: int) -> None:
    """Create an empty HDF5 file and allocate its disk space; closing it frees what is not used.

    HDF5 crashes on a full disk, and space that is free now may be taken while the file is written.
    """
    empty = io.BytesIO()
    h5py.File(empty, "w", libver=_FORMAT).close()
    with path.open("wb") as file:
        file.write(empty.getvalue())
        file.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)


def _write_values(
    file: h5py.File, declared: Mapping[str, Variable], values: Mapping[str, NDArray[Any]]
) -> None:
    """Scales first, as other variables are attached to them."""
    there = [name for name in declared if name in values]
    for name in sorted(there, key=lambda name: not declared[name].is_scale(name)):
        add_variable(file, name, declared[name], values[name])


def _write_attributes(file: h5py.File, schema: Schema, metadata: Metadata) -> None:
    if schema.kind != FIRST_KIND:
        set_text(file, KIND, schema.kind)
    declared = attributes_of(type(metadata))
    for field in fields(metadata):
        value = getattr(metadata, field.name)
        if value is not None and field.name != DIGEST:
            declared[field.name].store(file, field.name, value)


def _write_rows(file: h5py.File, rows: Iterable[Rows]) -> None:
    start = 0
    for block in rows:
        count = 0
        for name, values in block.items():
            count = len(values)
            file[name][start : start + count] = values
        start += count

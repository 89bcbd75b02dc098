"""From finished shards to the one file that is kept."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive.digest import DIGEST, digest_of
from iaside_onnx.archive.schema import (
    ATTRIBUTES,
    OPTIONAL_ATTRIBUTES,
    add_scale,
    add_variable,
    encode,
    set_text,
    variables_of,
)
from iaside_onnx.archive.shards import Shard, Workspace
from iaside_onnx.errors import ArchiveError
from iaside_onnx.files import finished_file
from iaside_onnx.types import Coalitions, Worth

__all__ = ["collect", "shard_tables", "write_archive"]

_HEADROOM = 1 << 18
# HDF5 1.10, of 2016, is the first whose every structure has a checksum: on one that was damaged,
# older formats make HDF5 crash or read for ever. It also takes a third of the room.
_FORMAT = ("v110", "v110")

_PER_IMAGE = (
    "label", "predicted", "phi_image",
    "log_probability_whole", "log_probability_empty", "floored",
)  # fmt: skip


def collect(workspace: Workspace, parts: Iterable[NDArray[np.int64]]) -> Shard:
    """All shards as one, but for the worths, which are too many to hold: ``worth`` has no rows.

    Args:
        workspace: the run's folder, locked.
        parts: positions of the images of each shard, in order.

    Raises:
        ArchiveError: if a shard is missing or damaged.
    """
    shards = []
    for number, positions in enumerate(parts):
        shard = _read(workspace, number, positions)
        # A copy of no rows, as a view would keep all of them alive.
        shards.append(replace(shard, worth=shard.worth[:0].copy()))
    arrays = {
        name: np.concatenate([getattr(shard, name) for shard in shards])
        for name in ("image", "worth", *_PER_IMAGE)
    }
    return Shard(
        **arrays,
        image_id=[name for shard in shards for name in shard.image_id],
        image_sha256=[name for shard in shards for name in shard.image_sha256],
        failures=tuple(failure for shard in shards for failure in shard.failures),
        batch_size=min(shard.batch_size for shard in shards),
    )


def _read(workspace: Workspace, number: int, positions: NDArray[np.int64]) -> Shard:
    try:
        shard = workspace.read(number, positions)
    except ArchiveError as error:
        raise ArchiveError(f"{error}; run the same command again") from error
    if shard is None:
        raise ArchiveError(f"{workspace.path(number)}: missing; run the same command again")
    return shard


def write_archive(
    workspace: Workspace,
    summary: Shard,
    values: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, object],
    tables: Iterable[tuple[Coalitions | None, Worth]],
) -> None:
    """Write the archive whole.

    Args:
        workspace: the run's folder, locked; its output is written.
        summary: all but the worths; at least one image.
        values: the variables that are not in the summary, by their name in the schema; ``slot``
            makes it the archive of a sample.
        attributes: the root's attributes, by their name in the schema, as Python values.
        tables: worths of the images in order, some at a time, ``(n, coalitions)``; for a sample
            with the coalitions, ``(n, slots)`` each.

    Raises:
        ArchiveError: if the file system refuses; the shards are kept.
    """
    output = workspace.output
    columns = values["slot" if "slot" in values else "coalition"].size
    needed = _HEADROOM + _size(summary, columns * (12 if "slot" in values else 4))
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise ArchiveError(
            f"{output}: the disk is full: {needed} bytes are needed and {free} are free; what is "
            "finished is kept: make room and run the same command again"
        )
    # What a kill leaves behind goes away with the folder.
    with finished_file(output, workspace.folder) as temporary:
        _reserve(temporary, needed)
        with h5py.File(temporary, "r+", libver=_FORMAT, locking=False) as file:
            _write_small(file, summary, values)
            _write_attributes(file, attributes)
            _write_tables(file, tables, (summary.image.size, columns))
            set_text(file, DIGEST, digest_of(file))


def _size(summary: Shard, row: int) -> int:
    """Bytes of all that there is a value of for each image, with so many of worths a row."""
    arrays: int = sum(getattr(summary, name).nbytes for name in ("image", *_PER_IMAGE))
    texts = [summary.image_id, summary.image_sha256, [f.reason for f in summary.failures]]
    worths = int(summary.image.size) * row
    return arrays + worths + sum(int(encode(text).nbytes) for text in texts if text)


def _reserve(path: Path, size: int) -> None:
    """Make an empty HDF5 file that has its space already; what is left over goes when it is closed.

    HDF5 crashes on a full disk, and others, or a quota, may take what is free now.
    """
    empty = io.BytesIO()
    h5py.File(empty, "w", libver=_FORMAT).close()
    with path.open("wb") as file:
        file.write(empty.getvalue())
        file.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)


def _write_small(file: h5py.File, summary: Shard, values: Mapping[str, NDArray[Any]]) -> None:
    add_scale(file, "image", summary.image)
    add_scale(file, "band", np.arange(summary.phi_image.shape[1]))
    scale = "slot" if "slot" in values else "coalition"
    add_scale(file, scale, values[scale])
    for name in _PER_IMAGE:
        add_variable(file, name, getattr(summary, name))
    add_variable(file, "image_id", encode(summary.image_id))
    add_variable(file, "image_sha256", encode(summary.image_sha256))
    if "class_folder" in values:
        add_scale(file, "class_folder", values["class_folder"])
    if summary.failures:
        add_scale(file, "failed", np.array([f.position for f in summary.failures]))
        add_variable(file, "failed_id", encode([f.image_id for f in summary.failures]))
        add_variable(file, "failed_reason", encode([f.reason for f in summary.failures]))
    for name, value in values.items():
        if name not in file:
            dtype = variables_of(sampled=scale == "slot")[name].dtype
            add_variable(file, name, np.asarray(value, dtype=dtype))


def _write_attributes(file: h5py.File, attributes: Mapping[str, object]) -> None:
    asked = {name: kind for name, kind in OPTIONAL_ATTRIBUTES.items() if name in attributes}
    for name, kind in {**ATTRIBUTES, **asked}.items():
        value = attributes[name]
        if kind in ("object", "list"):
            set_text(file, name, json.dumps(value))
        elif kind == "str":
            set_text(file, name, str(value))
        else:
            file.attrs[name] = value


def _write_tables(
    file: h5py.File, tables: Iterable[tuple[Coalitions | None, Worth]], shape: tuple[int, int]
) -> None:
    worth = add_variable(file, "worth", shape=shape)
    masks = add_variable(file, "coalition", shape=shape) if "slot" in file else None
    start = 0
    for coalitions, block in tables:
        rows = slice(start, start + len(block))
        worth[rows] = block
        if masks is not None:
            masks[rows] = coalitions
        start += len(block)


def shard_tables(
    workspace: Workspace, parts: Iterable[NDArray[np.int64]]
) -> Iterator[tuple[None, Worth]]:
    """The worths of all shards, one after the other.

    Raises:
        ArchiveError: if a shard is missing or damaged.
    """
    for number, positions in enumerate(parts):
        yield None, _read(workspace, number, positions).worth

"""From finished shards to the one file that is kept."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive.files import finished_file
from iaside_onnx.archive.schema import (
    ATTRIBUTES,
    OPTIONAL_ATTRIBUTES,
    VARIABLES,
    add_scale,
    add_variable,
    encode,
)
from iaside_onnx.archive.shards import Shard, Workspace
from iaside_onnx.errors import ArchiveError

__all__ = ["collect", "write_archive"]

_HEADROOM = 1 << 18

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
    parts: Iterable[NDArray[np.int64]],
    summary: Shard,
    values: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, object],
) -> None:
    """Write the archive whole, from the shards, one at a time.

    Args:
        workspace: the run's folder, locked; its output is written.
        parts: positions of the images of each shard, in order.
        summary: from `collect`; at least one image.
        values: the variables that are not per image, by their name in the schema.
        attributes: the root's attributes, by their name in the schema, as Python values.

    Raises:
        ArchiveError: if the file system refuses; the shards are kept.
    """
    parts = list(parts)
    output = workspace.output
    needed = sum(workspace.path(n).stat().st_size for n in range(len(parts))) + _HEADROOM
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise ArchiveError(
            f"{output}: the disk is full: {needed} bytes are needed and {free} are free; what is "
            "finished is kept: make room and run the same command again"
        )
    # What a kill leaves behind goes away with the folder.
    with finished_file(output, workspace.folder) as temporary:
        _reserve(temporary, needed)
        with h5py.File(temporary, "r+") as file:
            _write_small(file, summary, values)
            _write_attributes(file, attributes)
            _write_worth(file, workspace, parts, summary)


def _reserve(path: Path, size: int) -> None:
    """Make an empty HDF5 file that has its space already; what is left over goes when it is closed.

    HDF5 crashes on a full disk, and others, or a quota, may take what is free now.
    """
    empty = io.BytesIO()
    h5py.File(empty, "w").close()
    with path.open("wb") as file:
        file.write(empty.getvalue())
        file.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)


def _write_small(file: h5py.File, summary: Shard, values: Mapping[str, NDArray[Any]]) -> None:
    add_scale(file, "image", summary.image)
    add_scale(file, "band", np.arange(summary.phi_image.shape[1]))
    add_scale(file, "coalition", values["coalition"])
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
            add_variable(file, name, np.asarray(value, dtype=VARIABLES[name].dtype))


def _write_attributes(file: h5py.File, attributes: Mapping[str, object]) -> None:
    asked = {name: kind for name, kind in OPTIONAL_ATTRIBUTES.items() if name in attributes}
    for name, kind in {**ATTRIBUTES, **asked}.items():
        value = attributes[name]
        file.attrs[name] = json.dumps(value) if kind in ("object", "list") else value


def _write_worth(
    file: h5py.File, workspace: Workspace, parts: list[NDArray[np.int64]], summary: Shard
) -> None:
    shape = (summary.image.size, file["coalition"].size)
    worth = add_variable(file, "worth", shape=shape)
    start = 0
    for number, positions in enumerate(parts):
        block = _read(workspace, number, positions).worth
        worth[start : start + len(block)] = block
        start += len(block)

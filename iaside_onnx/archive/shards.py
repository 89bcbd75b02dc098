"""Work in progress: a folder beside the output, with one small file for each shard.

An HDF5 file is lost if its process is killed during a write. So no file that is read later is ever
open for writing: a shard is built in memory, written, synced and renamed. HDF5 can also crash on a
damaged file. So a shard ends with the SHA-256 of its other bytes, and is opened only if it matches.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive.datasets import as_text, encode
from iaside_onnx.archive.recipe import describe_differences
from iaside_onnx.archive.strict import parse_json
from iaside_onnx.errors import ArchiveError, RunConflictError, write_failure
from iaside_onnx.files import finished_file
from iaside_onnx.locks import OWNER, exclusive_lock

__all__ = ["Failure", "Shard", "Workspace"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be evaluated.

    Attributes:
        position: position of the image in its source.
        image_id: name of the image.
        reason: why it failed, one sentence.
    """

    position: int
    image_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shard:
    """The results of the images of one job, as they are on disk.

    Attributes:
        values: arrays with one row per image, in order, by their name in the schema; text as lists.
        failures: the images that are missing from the arrays.
        batch_size: images per call when the shard was finished; less than was asked for if memory
            ran out.
    """

    values: Mapping[str, Any]
    failures: tuple[Failure, ...] = ()
    batch_size: int = 0

    def __getitem__(self, name: str) -> Any:
        """The rows of a variable."""
        return self.values[name]

    @property
    def images(self) -> int:
        """Number of images in the arrays."""
        return len(self.values["image"])


_TEXT_KIND = "S"
_FAILURES, _BATCH_SIZE = "failures", "batch_size"
_DIGEST_BYTES = 32


class Workspace:
    """The folder ``OUT.h5.work`` of one run.

    Attributes:
        output: the archive, or the file that it is a symbolic link to.
        folder: the folder, beside it.

    Args:
        output: the archive that the run makes.
        say: is called with messages for the user about the folder.
    """

    def __init__(self, output: Path, say: Callable[[str], None] = lambda _: None) -> None:
        # A link is written through, and has one folder and one lock with the file that it names.
        self.output = Path(os.path.realpath(output)) if output.is_symlink() else output
        self._say = say
        self.folder = self.output.with_name(self.output.name + ".work")

    @property
    def _plan(self) -> Path:
        return self.folder / "plan.json"

    def lock(self) -> AbstractContextManager[None]:
        """Create the folder, and lock it against other processes until the context ends.

        Raises:
            ArchiveError: if the folder cannot be created.
            RunConflictError: if another process holds the lock.
        """
        if self.folder.is_symlink():
            raise ArchiveError(
                f"{self.folder}: is a symbolic link, and files would be removed in its target; "
                "delete the link"
            )
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise write_failure(self.folder, error) from error
        return exclusive_lock(self.folder / "lock", self._say)

    def claim(self, identity: Mapping[str, object], started: str, *, overwrite: bool) -> str:
        """Check that the shards in the folder, if any, belong to this run; the lock must be held.

        Args:
            identity: everything that the results depend on, as JSON values.
            started: the time now, kept if the run is new.
            overwrite: delete the shards of another run instead of refusing.

        Returns:
            When the run was first started.

        Raises:
            RunConflictError: if they belong to a run with other options.
        """
        plan = self._read_plan()
        if plan is not None and plan["identity"] == identity:
            return str(plan["started"])
        if plan is not None and not overwrite:
            raise RunConflictError(
                f"{self.folder}: holds an unfinished run with other options: "
                f"{describe_differences(identity, plan['identity'])}; give the same options, "
                "another output, or `overwrite=True` to throw it away"
            )
        # Without a plan, these shards remain from a run that was killed in `clear`.
        for path in self.folder.glob("shard-*.h5"):
            path.unlink()
        text = json.dumps({"identity": identity, "started": started}, indent=1)
        with finished_file(self._plan, self.folder) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return started

    def clear(self) -> None:
        """Remove the run's files, and the folder if that leaves it empty; the lock must be held."""
        for pattern in ("shard-*.h5", ".*.tmp", "plan.json", OWNER, "lock"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def clear_leftovers(self, identity: Mapping[str, object]) -> None:
        """Remove the folder of a run that was killed after its output was in place.

        Raises:
            RunConflictError: if another process holds the lock.
        """
        if not self.folder.is_dir():
            return
        with self.lock():
            plan = self._read_plan()
            if plan is None or plan["identity"] == identity:
                self.clear()

    def identity(self) -> dict[str, object] | None:
        """What the unfinished run in the folder depends on; None if none can be read."""
        try:
            plan = self._read_plan()
        except ArchiveError:
            return None
        return None if plan is None else dict(plan["identity"])

    def _read_plan(self) -> dict[str, Any] | None:
        try:
            plan = parse_json(self._plan.read_bytes())
            return {"identity": dict(plan["identity"]), "started": str(plan["started"])}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ArchiveError(
                f"{self._plan}: unreadable ({error}); delete {self.folder}"
            ) from error

    def path(self, number: int) -> Path:
        """Path of the shard of this number."""
        return self.folder / f"shard-{number:06d}.h5"

    def write(self, number: int, shard: Shard) -> None:
        """Write a shard as a whole or not at all.

        Raises:
            ArchiveError: if the file system refuses; nothing that was finished is lost.
        """
        data = _to_bytes(shard)
        with finished_file(self.path(number), self.folder) as temporary:
            temporary.write_bytes(data + hashlib.sha256(data).digest())

    def read(self, number: int, positions: NDArray[np.int64]) -> Shard | None:
        """Read a shard back; None if it does not exist.

        Args:
            number: number of the shard.
            positions: positions of the images that belong in it, in any order.

        Raises:
            ArchiveError: if it is damaged, or holds other images.
        """
        path = self.path(number)
        if not path.is_file():
            return None
        try:
            stored = path.read_bytes()
            data, digest = stored[:-_DIGEST_BYTES], stored[-_DIGEST_BYTES:]
            if hashlib.sha256(data).digest() != digest:
                raise ArchiveError(f"{path}: damaged shard")
            with h5py.File(io.BytesIO(data), "r") as file:
                values = {name: _rows(file[name][...]) for name in file if name != _FAILURES}
                failures = tuple(Failure(*f) for f in parse_json(file[_FAILURES].asstr()[()]))
                batch_size = int(file.attrs[_BATCH_SIZE])
            if any(len(rows) != len(values["image"]) for rows in values.values()):
                raise ArchiveError(f"{path}: damaged shard")
        except ArchiveError:
            raise
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ArchiveError(f"{path}: damaged shard") from error
        found = sorted([*values["image"].tolist(), *(f.position for f in failures)])
        if found != sorted(positions.tolist()):
            raise ArchiveError(f"{path}: shard of other images than expected")
        return Shard(values, failures, batch_size)


def _rows(values: NDArray[Any]) -> Any:
    return as_text(values) if values.dtype.kind == _TEXT_KIND else values


def _to_bytes(shard: Shard) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, rows in shard.values.items():
            data = rows if isinstance(rows, np.ndarray) else encode(rows)
            file.create_dataset(name, data=data, track_times=False)
        failures = [(f.position, f.image_id, f.reason) for f in shard.failures]
        file.create_dataset(_FAILURES, data=json.dumps(failures), track_times=False)
        file.attrs[_BATCH_SIZE] = shard.batch_size
    return buffer.getvalue()

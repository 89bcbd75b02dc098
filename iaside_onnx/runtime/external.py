"""The files of a model: its own and those with its weights, found, hashed and kept inside."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from onnx import TensorProto

from iaside_onnx.errors import ModelError
from iaside_onnx.files import stamp_of

__all__ = ["ModelFile", "external_data", "hash_of", "is_beside"]


class ModelFile(NamedTuple):
    """A file, its hash, and its device, inode, length and times of modification and change."""

    path: Path
    sha256: str
    stamp: tuple[int, ...] | None


def hash_of(path: Path) -> str | None:
    """SHA-256 of a file; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def external_data(path: Path, tensors: Iterable[TensorProto]) -> dict[str, ModelFile]:
    """Hash every external data file, after checking that it is one of the model's own.

    Args:
        path: the model.
        tensors: all tensors of the model.

    Returns:
        The real path and the hash of each file, by its location as the model has it.

    Raises:
        ModelError: if a file is elsewhere or cannot be read.
    """
    files: dict[str, ModelFile] = {}
    for tensor in tensors:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        locations = [entry.value for entry in tensor.external_data if entry.key == "location"]
        if not all(isinstance(location, str) for location in locations):
            raise ModelError(f"{path}: the name of a file of weights is not UTF-8; export it again")
        # Of several, some readers take the first and others the last.
        if len(locations) != 1:
            raise ModelError(
                f"{path}: names {len(locations)} places for the values of one tensor, where one "
                "was expected; export it again"
            )
        if locations[0] not in files:
            target = _inside(path, locations[0])
            stamp = stamp_of(target)
            digest = hash_of(target)
            if digest is None:
                raise ModelError(
                    f"{path}: its weights in {locations[0]!r} cannot be read; check it"
                )
            files[locations[0]] = ModelFile(target, digest, stamp)
    return files


def is_beside(path: Path, file: ModelFile) -> bool:
    """Whether a data file lies where ONNX Runtime reads it by itself: in the model's folder."""
    return path.parent.resolve() in file.path.parents and not path.is_symlink()


def _inside(path: Path, location: str) -> Path:
    """The real path of a model's external data, in a folder of the model's own.

    These are the folder of the path as given, that of the real path, and, in a cache of the
    Hugging Face hub, the folder of the files that its links lead to.

    Raises:
        ModelError: if the path is elsewhere, or there is no file.
    """
    try:
        named = Path(location)
        folders = list(dict.fromkeys([path.parent.resolve(), path.resolve().parent]))
        beside = [folder / named for folder in folders]
        found = next((file for file in beside if file.exists()), beside[0])
        target = found.resolve()
        allowed = [*folders, *_hub_files(path)]
        leaves = not location or named.is_absolute() or ".." in named.parts
        if leaves or not any(folder in target.parents for folder in allowed):
            link = f", a link to {target}" if found.is_symlink() else ""
            raise ModelError(
                f"{path}: keeps weights in {location!r}{link}, outside of its own folder; put the "
                "data file beside the model, or export with the weights inside"
            )
        is_there = target.is_file()
    except ModelError:
        raise
    # Circular links, or names that no file can have.
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path}: keeps weights in {location[:80]!r}, which is not a file name; export it again"
        ) from error
    if not is_there:
        raise ModelError(
            f"{path}: its weights are in {location!r}, which does not exist; copy that file "
            "beside the model"
        )
    return target


def _hub_files(path: Path) -> list[Path]:
    """The ``blobs`` of a hub cache, where the path lies in ``snapshots`` beside it; else nothing.

    ``models--NAME/snapshots/REVISION/onnx/model.onnx`` is a link to ``models--NAME/blobs/HASH``.
    """
    for folder in path.absolute().parents:
        if folder.name == "snapshots" and folder.parent.name.startswith("models--"):
            return [(folder.parent / "blobs").resolve()]
    return []

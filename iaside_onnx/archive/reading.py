"""Reading archives: parsed once, strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive.schema import ATTRIBUTES, SCHEMA_VERSION, VARIABLES, as_text
from iaside_onnx.errors import ArchiveError

__all__ = ["Archive", "Metadata", "open_archive"]

_PARSERS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "json": json.loads,
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """The root's attributes: what was audited, by what, and how.

    ``options`` holds what was ``given`` and what it was ``resolved`` to; ``accuracy`` is that on
    whole images, NaN where labels are the model's own; ``uniform`` is 1 where all contributions
    are equal, so that psi and SIS are a convention; ``smallest_bands`` are the bands that may have
    the smallest contribution, and where they are several the bounds of psi and SIS allow for each.
    """

    schema_version: int
    tool_version: str
    model_name: str
    model_sha256: str
    model_external: Mapping[str, str]
    model_size: int
    model_opset: int
    model_producer: str
    runtime: str
    runtime_version: str
    provider: str
    device: str
    precision: str
    seed: int
    options: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    started: str
    finished: str
    images_asked: int
    images_done: int
    images_failed: int
    accuracy: float
    uniform: int
    smallest_bands: list[int]
    notes: list[str]


class Archive:
    """One decomposition, read from its HDF5 file.

    Small variables are read when the archive is opened; ``worth`` is read from the file on demand.

    Attributes:
        path: the file.
        metadata: the root's attributes.
    """

    def __init__(
        self, path: Path, metadata: Metadata, variables: Mapping[str, NDArray[Any]]
    ) -> None:
        self.path = path
        self.metadata = metadata
        self._variables = variables

    def __repr__(self) -> str:
        return f"<Archive {self.path}: {self.metadata.model_name}, {self.bands} bands>"

    @property
    def bands(self) -> int:
        """Number of bands."""
        return int(self["band"].size)

    @property
    def names(self) -> list[str]:
        """Names of the variables."""
        return sorted([*self._variables, "worth"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A variable by its name in the schema, read-only; text as an array of str.

        Raises:
            KeyError: if the archive has no such variable.
        """
        return self.worth() if name == "worth" else self._variables[name]

    def worth(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Worths of a run of images, ``(images, coalitions)``, in nats.

        Raises:
            ArchiveError: if the file is gone or damaged.
        """
        try:
            with h5py.File(self.path, "r") as file:
                return np.asarray(file["worth"][start:stop])
        except (OSError, KeyError) as error:
            raise ArchiveError(
                f"{self.path}: the worths cannot be read; restore the file"
            ) from error


def open_archive(path: str | Path) -> Archive:
    """Open an archive.

    Raises:
        ArchiveError: if the file is no archive, is damaged, lacks something that the schema asks
            for, or is of a newer schema than this version knows.
    """
    path = Path(path)
    if not path.is_file():
        raise ArchiveError(f"{path}: {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        with h5py.File(path, "r") as file:
            metadata = _metadata(path, file)
            variables = {n: _variable(path, file, n) for n in VARIABLES if _present(path, file, n)}
            _check_worth(path, file)
    except OSError as error:
        raise ArchiveError(
            f"{path}: not an HDF5 file, or a damaged one; give an archive made by iaside"
        ) from error
    return Archive(path, metadata, variables)


def _metadata(path: Path, file: h5py.File) -> Metadata:
    if "schema_version" not in file.attrs:
        raise ArchiveError(f"{path}: an HDF5 file, but not an archive made by iaside")
    version = int(file.attrs["schema_version"])
    if version > SCHEMA_VERSION:
        raise ArchiveError(
            f"{path}: has schema version {version}, and this version of iaside knows up to "
            f"{SCHEMA_VERSION}; upgrade iaside-onnx"
        )
    parsed: dict[str, Any] = {}
    for field in fields(Metadata):
        try:
            value = file.attrs[field.name]
            parsed[field.name] = _PARSERS[ATTRIBUTES[field.name]](value)
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveError(
                f"{path}: the attribute {field.name!r} is missing or unreadable; the archive is "
                "damaged or was edited"
            ) from error
    return Metadata(**parsed)


def _present(path: Path, file: h5py.File, name: str) -> bool:
    if name == "worth":
        return False
    if VARIABLES[name].required and name not in file:
        raise ArchiveError(f"{path}: the variable {name!r} is missing; the archive is damaged")
    return name in file


def _variable(path: Path, file: h5py.File, name: str) -> NDArray[Any]:
    variable, dataset = VARIABLES[name], file[name]
    wanted = "S" if variable.dtype == "utf-8" else np.dtype(variable.dtype).kind
    if dataset.ndim != len(variable.dims) or dataset.dtype.kind != wanted:
        raise ArchiveError(
            f"{path}: the variable {name!r} is {dataset.dtype} with {dataset.ndim} axes, where "
            f"{variable.dtype} with {len(variable.dims)} was expected; the archive is damaged"
        )
    values = np.asarray(dataset[()])
    if wanted == "S":
        values = np.array(as_text(values), dtype=np.str_)
    values.flags.writeable = False
    return values


def _check_worth(path: Path, file: h5py.File) -> None:
    expected = (file["image"].size, file["coalition"].size)
    if "worth" not in file or file["worth"].shape != expected:
        raise ArchiveError(f"{path}: the worths are missing or not {expected}; it is damaged")

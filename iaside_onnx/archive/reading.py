"""Reading archives: parsed once, strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive.schema import (
    ATTRIBUTES,
    OPTIONAL_ATTRIBUTES,
    SCHEMA_VERSION,
    Variable,
    as_text,
    text_of,
    variables_of,
)
from iaside_onnx.archive.structure import refuse_unsafe
from iaside_onnx.errors import ArchiveError
from iaside_onnx.hdf5 import open_hdf5

__all__ = ["Archive", "Metadata", "open_archive"]

# What real archives are far below: they hold random digits.
_SMALL_BYTES, _SMALL_EXPANSION = 1 << 26, 16

_RESOLVED = frozenset(["bands", "baseline", "partition", "pixel_range", "spacing"])


def _refuse(constant: str) -> None:
    """JSON has no NaN and no infinity, though Python reads and writes them."""
    raise ValueError(constant)


def _parser(kind: type, *, is_json: bool = False) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        value = text_of(value)
        value = (
            json.loads(value, parse_constant=_refuse)
            if is_json
            else getattr(value, "item", lambda: value)()
        )
        if not isinstance(value, kind):
            raise TypeError
        return value

    return parse


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "int": _parser(int),
    "float": _parser(float),
    "str": _parser(str),
    "object": _parser(dict, is_json=True),
    "list": _parser(list, is_json=True),
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """The root's attributes: what was audited, by what, and how.

    ``options`` holds what was ``given`` and what it was ``resolved`` to; ``accuracy`` is that on
    whole images, NaN where labels are the model's own; ``uniform`` is 1 where all contributions
    are equal, so that psi and SIS are a convention; ``smallest_bands`` are the bands that may have
    the smallest contribution, and where they are several the bounds of psi and SIS allow for each;
    ``profile`` is where the time went, if the run was asked to write it down; ``sample`` is how
    far a sampled run went, None where every coalition was evaluated; ``digest`` is the hash of all
    that the file holds besides.
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
    profile: Mapping[str, Any] | None = None
    sample: Mapping[str, Any] | None = None
    digest: str | None = None


class Archive:
    """One decomposition, read from its HDF5 file.

    Small variables are read when the archive is opened; ``worth``, and of a sample ``coalition``,
    are read from the file on demand.

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
        return sorted([*self._variables, *_large(sampled=self.sampled)])

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A variable by its name in the schema, read-only; text as an array of str.

        Raises:
            KeyError: if the archive has no such variable.
        """
        if name in _large(sampled=self.sampled):
            return self._slice(name)
        return self._variables[name]

    @property
    def sampled(self) -> bool:
        """Whether coalitions were sampled, an own few of each image."""
        return "slot" in self._variables

    def worth(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Worths of a run of images, ``(images, coalitions)``, in nats; of a sample by slot.

        Raises:
            ArchiveError: if the file is gone or damaged.
        """
        return self._slice("worth", start, stop)

    def coalitions(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint64]:
        """The coalition of each worth of a run of images, ``(images, coalitions)``.

        Raises:
            ArchiveError: if the file is gone or damaged.
        """
        if self.sampled:
            return self._slice("coalition", start, stop)
        coalitions = self["coalition"]
        return np.broadcast_to(coalitions, (*self["image"][start:stop].shape, coalitions.size))

    def _slice(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        try:
            with open_hdf5(self.path) as file:
                return np.asarray(file[name][start:stop])
        except (OSError, KeyError, RuntimeError) as error:
            raise ArchiveError(
                f"{self.path}: the {name}s cannot be read; restore the file"
            ) from error


def _large(*, sampled: bool) -> tuple[str, ...]:
    """Variables that are read on demand."""
    return ("worth", "coalition") if sampled else ("worth",)


def open_archive(path: str | Path) -> Archive:
    """Open an archive.

    Raises:
        ArchiveError: if the file is no archive, is damaged, lacks something that the schema asks
            for, or is of a newer schema than this version knows.
    """
    path = Path(path)
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise ArchiveError(f"{path}: {what}; give an archive made by iaside decompose")
    try:
        with open_hdf5(path) as file:
            _check_version(path, file)
            refuse_unsafe(path, file)
            metadata = _metadata(path, file)
            declared = variables_of(sampled="slot" in file)
            present = {n: v for n, v in declared.items() if _present(path, file, n, v)}
            _check_shapes(path, file, present)
            _check_size(path, file, present)
            large = _large(sampled="slot" in file)
            variables = {name: _values(file[name]) for name in present if name not in large}
    except ArchiveError:
        raise
    # RuntimeError, KeyError: from h5py, on damage inside; ValueError: text that is not UTF-8.
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ArchiveError(
            f"{path}: not an HDF5 file, or a damaged one; give an archive made by iaside"
        ) from error
    return Archive(path, metadata, variables)


def _check_version(path: Path, file: h5py.File) -> None:
    """Asked first: a newer version may be built of what this one refuses."""
    if "schema_version" not in file.attrs:
        raise ArchiveError(f"{path}: an HDF5 file, but not an archive made by iaside")
    stored = file.attrs.get_id("schema_version")
    if stored.dtype.kind not in "iu" or stored.shape:
        return
    version = int(file.attrs["schema_version"])
    if version > SCHEMA_VERSION:
        raise ArchiveError(
            f"{path}: has schema version {version}, and this version of iaside knows up to "
            f"{SCHEMA_VERSION}; upgrade iaside-onnx"
        )


def _metadata(path: Path, file: h5py.File) -> Metadata:
    parsed: dict[str, Any] = {}
    for name, kind in {**ATTRIBUTES, **OPTIONAL_ATTRIBUTES}.items():
        if name in OPTIONAL_ATTRIBUTES and name not in file.attrs:
            continue
        try:
            parsed[name] = _PARSERS[kind](file.attrs[name])
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveError(
                f"{path}: the attribute {name!r} is missing or unreadable; the archive is "
                "damaged or was edited"
            ) from error
    given, resolved = (parsed["options"].get(name) for name in ("given", "resolved"))
    whole = isinstance(given, dict) and isinstance(resolved, dict)
    if not whole or not resolved.keys() >= _RESOLVED:
        raise ArchiveError(
            f"{path}: the attribute 'options' does not say how the run was made; the archive is "
            "damaged or was edited"
        )
    return Metadata(**parsed)


def _present(path: Path, file: h5py.File, name: str, variable: Variable) -> bool:
    if variable.required and name not in file:
        raise ArchiveError(f"{path}: the variable {name!r} is missing; the archive is damaged")
    return name in file


def _check_shapes(path: Path, file: h5py.File, variables: Mapping[str, Variable]) -> None:
    """Make sure that every variable is of its type, and fits the others."""
    for name, variable in variables.items():
        dataset = file[name]
        wanted = "S" if variable.dtype == "utf-8" else np.dtype(variable.dtype).kind
        sizes = tuple(file[dim].size if dim in file else 0 for dim in variable.dims)
        if dataset.dtype.kind != wanted or dataset.shape != sizes or 0 in sizes:
            raise ArchiveError(
                f"{path}: the variable {name!r} is {dataset.dtype} of shape {dataset.shape}, where "
                f"{variable.dtype} of shape {sizes} was expected; the archive is damaged"
            )


def _check_size(path: Path, file: h5py.File, variables: Mapping[str, Variable]) -> None:
    """Make sure that what is read at once is not much more than the file is long."""
    large = _large(sampled="slot" in file)
    taken = sum(file[name].nbytes for name in variables if name not in large)
    if taken > _SMALL_BYTES + _SMALL_EXPANSION * path.stat().st_size:
        raise ArchiveError(
            f"{path}: its variables take {taken} bytes of memory, far more than the file is long; "
            "the archive was made to do harm"
        )


def _values(dataset: h5py.Dataset) -> NDArray[Any]:
    values = np.asarray(dataset[()])
    if values.dtype.kind == "S":
        values = np.array(as_text(values), dtype=np.str_)
    values.flags.writeable = False
    return values

"""Reading archives of any kind: everything is parsed and checked when a file is opened."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive.datasets import text_of
from iaside_onnx.archive.metadata import Metadata, read_metadata
from iaside_onnx.archive.schema import SCHEMA_VERSION, TEXT, Schema, Variable
from iaside_onnx.archive.structure import refuse_decoding, refuse_unsafe
from iaside_onnx.archive.views import view
from iaside_onnx.errors import ArchiveError, UnknownVariableError, nearest
from iaside_onnx.hdf5 import open_hdf5

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = [
    "ArchiveFile",
    "Kind",
    "kind_of",
    "open_any",
    "open_as",
    "register_kind",
    "row_ranges",
    "stored_attributes",
]

# The values of real archives hardly compress, so these stay far below the limits.
_SMALL_BYTES, _SMALL_EXPANSION = 1 << 28, 16
# NumPy holds a character of text in four bytes.
_TEXT_EXPANSION = 4

_PIECE_BYTES, _PIECE_ROWS = 1 << 22, 256

KIND = "kind"
"""The root attribute that names the kind of an archive."""

FIRST_KIND = "decomposition"
"""The kind of an archive without that attribute."""


def row_ranges(rows: int, width: int) -> list[slice]:
    """Ranges of consecutive rows of ``width`` bytes each, each of which takes little memory."""
    step = int(np.clip(_PIECE_BYTES // width, 1, _PIECE_ROWS))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


class ArchiveFile:
    """An archive of any kind, read from its HDF5 file.

    Variables are read by name, as from a mapping: ``archive["phi"]``, ``"phi" in archive``,
    ``archive.keys()``. It is no `collections.abc.Mapping`, as two archives are not equal by their
    values, and all values may be larger than memory.

    Attributes:
        path: the file.
        schema: the declaration of its kind.
        metadata: the root attributes.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        metadata: Metadata,
        variables: Mapping[str, NDArray[Any]],
        streamed: frozenset[str],
    ) -> None:
        self.path = path
        self.schema = schema
        self.metadata: Any = metadata
        self._variables = variables
        self._streamed = streamed
        self._parse()

    def _parse(self) -> None:
        """Parse what is specific to the kind; called when the archive is opened.

        Raises:
            ArchiveError: if that cannot be read.
        """

    @property
    def names(self) -> list[str]:
        """Names of the variables."""
        return sorted([*self._variables, *self._streamed])

    def keys(self) -> list[str]:
        """Names of the variables."""
        return self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._variables or name in self._streamed

    def _ipython_key_completions_(self) -> list[str]:
        return self.names

    def to_xarray(self) -> xarray.Dataset:
        """All variables as a dataset, with units, coordinates and the root attributes.

        What names an image or places a band is a coordinate, so that
        ``archive.to_xarray().phi_image.groupby("label").mean()`` works. Large variables such as
        ``worth`` are read from the file where they are used; take ranges of images of those that
        do not fit into memory.

        Raises:
            ExtraMissingError: if xarray is not installed.
        """
        made: xarray.Dataset = view("to_xarray")(self)
        return made

    def to_dataframe(self, table: str | None = None) -> pandas.DataFrame:
        """A table in long form, as `iaside_onnx.convert` writes it, in memory.

        Args:
            table: of a decomposition ``contributions``, a row for each image and band (default);
                ``bands``, a row for each band; or ``worth``, a row for each image and coalition.

        Returns:
            The table; ``attrs["units"]`` holds the unit of each column.

        Raises:
            OptionError: if there is no such table.
            ExtraMissingError: if pandas is not installed.
            ArchiveError: if the file was removed or is damaged.
        """
        return view("to_dataframe")(self, table)

    @property
    def declared(self) -> dict[str, Variable]:
        """Declarations of the variables of this archive."""
        declared = self.schema.of(self.names)
        return {name: declared[name] for name in self.names}

    def size(self, dim: str) -> int:
        """Length of an axis."""
        return int(self._variables[dim].size)

    def pieces(self, name: str) -> list[slice]:
        """Ranges of consecutive rows of a variable, each of which takes little memory."""
        variable = self.declared[name]
        rows, *others = (self.size(dim) for dim in variable.dims)
        kind = variable.dtype if name in self._streamed else self._variables[name].dtype
        return row_ranges(rows, math.prod(others) * np.dtype(kind).itemsize)

    @property
    def text_names(self) -> list[str]:
        """Names of the variables that hold text."""
        return [name for name, variable in self.declared.items() if variable.dtype == TEXT]

    @property
    def nbytes(self) -> int:
        """Memory that all variables would take, in bytes."""
        large = (self.declared[name] for name in self._streamed)
        return sum(values.nbytes for values in self._variables.values()) + sum(
            math.prod(map(self.size, variable.dims)) * np.dtype(variable.dtype).itemsize
            for variable in large
        )

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A variable by its name in the schema, read-only; text as an array of str.

        Raises:
            UnknownVariableError: if the archive has no such variable; it is a `KeyError`.
        """
        return self.rows(name) if name in self._streamed else self._in_memory(name)

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """A range of rows of a variable.

        Raises:
            ArchiveError: if the file was removed or is damaged.
            UnknownVariableError: if the archive has no such variable.
        """
        return self.part(name, (slice(start, stop),))

    def part(self, name: str, key: tuple[int | slice, ...]) -> NDArray[Any]:
        """A part of a variable; of a large one no more is read than that, in whole chunks.

        Args:
            name: name of the variable.
            key: an index, or a slice with a positive step, for each of the first axes.

        Raises:
            ArchiveError: if the file was removed or is damaged.
            UnknownVariableError: if the archive has no such variable.
        """
        if name not in self._streamed:
            return np.asarray(self._in_memory(name)[key])
        try:
            with open_hdf5(self.path) as file:
                return np.asarray(file[name][key])
        except (OSError, KeyError, RuntimeError) as error:
            raise ArchiveError(
                f"{self.path}: the {name}s cannot be read; restore the file"
            ) from error

    def _in_memory(self, name: str) -> NDArray[Any]:
        if name not in self._variables:
            hint = nearest(str(name), self.names, "variables")
            raise UnknownVariableError(f"{self.path}: has no variable {name!r}{hint}")
        return self._variables[name]


@dataclass(frozen=True, slots=True)
class Kind:
    """How archives of one kind are read.

    Attributes:
        schema: its variables.
        metadata: the class of its root attributes.
        archive: the class of open archives.
    """

    schema: Schema
    metadata: type[Metadata]
    archive: type[ArchiveFile]


_KINDS: dict[str, Kind] = {}
_A = TypeVar("_A", bound=ArchiveFile)


def register_kind(schema: Schema, metadata: type[Metadata], archive: type[ArchiveFile]) -> None:
    """Register a kind of archive, so that archives of it can be opened and checked."""
    _KINDS[schema.kind] = Kind(schema, metadata, archive)


def kind_of(file: h5py.File) -> Kind:
    """The kind of an open file.

    Raises:
        ArchiveError: if this version does not know it.
    """
    name = text_of(file.attrs.get(KIND, FIRST_KIND))
    if name not in _KINDS:
        raise ArchiveError(
            f"{file.filename}: is an archive of the kind {str(name)[:40]!r}, which this version of "
            "iaside does not know; upgrade iaside-onnx"
        )
    return _KINDS[name]


def open_as(archive: type[_A], path: Path, command: str) -> _A:
    """Open an archive that must be of one kind.

    Args:
        archive: the class of that kind.
        path: the file.
        command: the command that makes such archives; named in messages.

    Raises:
        ArchiveError: as `open_any`, and if it is of another kind.
    """
    found = open_any(path, command)
    if not isinstance(found, archive):
        raise ArchiveError(
            f"{path}: is an archive of the kind {found.schema.kind!r}; give an archive made by "
            f"iaside {command}"
        )
    return found


def open_any(path: Path, command: str = "decompose") -> ArchiveFile:
    """Open an archive of any kind.

    Raises:
        ArchiveError: if the file is not an archive, is damaged, lacks something that the schema
            requires, or has a newer schema than this version knows.
    """
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise ArchiveError(f"{path}: {what}; give an archive made by iaside {command}")
    try:
        with open_hdf5(path) as file:
            _check_version(path, file)
            refuse_unsafe(path, file)
            kind = kind_of(file)
            metadata = read_metadata(
                kind.metadata, file.attrs, lambda name: _unreadable(path, name)
            )
            declared = kind.schema.of(file)
            present = {n: v for n, v in declared.items() if _present(path, file, n, v)}
            refuse_decoding(path, file, present)
            _check_shapes(path, file, present)
            _check_size(path, file, present)
            streamed = frozenset(name for name, v in present.items() if v.streamed)
            variables = {name: _values(file[name]) for name in present.keys() - streamed}
    except ArchiveError:
        raise
    except PermissionError as error:
        raise ArchiveError(f"{path}: cannot be read: permission denied; correct that") from error
    # RuntimeError and KeyError come from h5py on damage; ValueError from text that is not UTF-8.
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ArchiveError(
            f"{path}: not an HDF5 file, or a damaged one; give an archive made by iaside"
        ) from error
    return kind.archive(path, kind.schema, metadata, variables, streamed)


def stored_attributes(path: Path) -> dict[str, Any]:
    """The root attributes of an archive as they are stored, JSON as text.

    Raises:
        ArchiveError: if the file was removed or is damaged.
    """
    try:
        with open_hdf5(path) as file:
            return {name: text_of(value) for name, value in file.attrs.items()}
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ArchiveError(f"{path}: its attributes cannot be read; restore the file") from error


def _unreadable(path: Path, name: str) -> ArchiveError:
    return ArchiveError(
        f"{path}: the attribute {name!r} is missing or unreadable; the archive is damaged or was "
        "edited"
    )


def _check_version(path: Path, file: h5py.File) -> None:
    """Checked first: a newer schema may use structures that this version refuses."""
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


def _present(path: Path, file: h5py.File, name: str, variable: Variable) -> bool:
    if variable.required and name not in file:
        raise ArchiveError(f"{path}: the variable {name!r} is missing; the archive is damaged")
    return name in file


def _check_shapes(path: Path, file: h5py.File, variables: Mapping[str, Variable]) -> None:
    """Check that every variable has its type, and the shape that its axes give."""
    for name, variable in variables.items():
        dataset = file[name]
        wanted = "S" if variable.dtype == TEXT else np.dtype(variable.dtype).kind
        sizes = tuple(file[dim].size if dim in file else 0 for dim in variable.dims)
        if dataset.dtype.kind != wanted or dataset.shape != sizes or 0 in sizes:
            raise ArchiveError(
                f"{path}: the variable {name!r} is {dataset.dtype} of shape {dataset.shape}, where "
                f"{variable.dtype} of shape {sizes} was expected; the archive is damaged"
            )


def _check_size(path: Path, file: h5py.File, variables: Mapping[str, Variable]) -> None:
    """Check that the variables take no more memory than the size of the file makes likely."""
    taken = sum(
        file[name].nbytes * (_TEXT_EXPANSION if variable.dtype == TEXT else 1)
        for name, variable in variables.items()
        if not variable.streamed
    )
    if taken > _SMALL_BYTES + _SMALL_EXPANSION * path.stat().st_size:
        raise ArchiveError(
            f"{path}: its variables take {taken} bytes of memory, far more than the size of the "
            "file; iaside does not write such archives"
        )


def _values(dataset: h5py.Dataset) -> NDArray[Any]:
    values = np.asarray(dataset[()])
    if values.dtype.kind == "S":
        values = np.char.decode(values, TEXT)
    values.flags.writeable = False
    return values

"""An archive as plain tables in long form, for programs that do not read HDF5."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import DECOMPOSITION, ArchiveFile, Variable, open_any
from iaside_onnx.errors import ArchiveError, ExtraMissingError, OptionError, install_extra
from iaside_onnx.files import finished_file
from iaside_onnx.outputs import check_output_file

__all__ = ["convert", "register_tables", "table_names"]

_HEADROOM = 1 << 20

# Columns of each table, by the kind of archive and the name of the table.
_TABLES: dict[str, dict[str, tuple[str, ...]]] = {}


def register_tables(kind: str, tables: Mapping[str, tuple[str, ...]]) -> None:
    """Register the tables of a kind of archive; the first is the default.

    Args:
        kind: the kind of archive.
        tables: names of the variables that are the columns, by the name of the table. A table has
            a row for each element of the variable with the most axes.
    """
    _TABLES[kind] = dict(tables)


def table_names(kind: str = DECOMPOSITION.kind) -> tuple[str, ...]:
    """Names of the tables of a kind of archive; the first is the default, if there are any."""
    return tuple(_TABLES.get(kind, {}))


_IMAGE = ("image", "image_id", "label", "predicted")
_BAND = ("band", "band_low", "band_high")
register_tables(
    DECOMPOSITION.kind,
    {
        "contributions": (*_IMAGE, *_BAND, "phi_image"),
        "bands": (*_BAND, "phi", "phi_low", "phi_high", "psi", "psi_low", "psi_high"),
        "worth": (*_IMAGE, "coalition", "worth"),
    },
)


@dataclass(frozen=True, slots=True)
class LongTable:
    """A table in long form.

    Attributes:
        units: unit of each column, by the name of its variable.
        blocks: yields the columns of consecutive rows, block by block.
    """

    units: Mapping[str, str]
    blocks: Callable[[], Iterator[Mapping[str, NDArray[Any]]]]


def convert(
    archive: ArchiveFile | str | Path, output: str | Path, table: str | None = None
) -> None:
    """Write a table of an archive as CSV, JSON or Parquet, or all of it as NetCDF.

    Args:
        archive: the archive to convert.
        output: the file to write; its suffix ``.csv``, ``.json``, ``.parquet`` or ``.nc`` gives the
            format. What an earlier conversion wrote is replaced.
        table: of a decomposition ``contributions``, a row for each image and band (default);
            ``bands``, a row for each band; or ``worth``, a row for each image and coalition. NetCDF
            holds all variables.

    Raises:
        OptionError: if the suffix or the table is unknown, or what is at the output is not the
            result of an earlier conversion.
        ExtraMissingError: if a package that writes this format is not installed.
        ArchiveError: if the archive cannot be read, or the file cannot be written.
    """
    if not isinstance(archive, ArchiveFile):
        archive = open_any(Path(archive))
    output = Path(output)
    writers: dict[str, Callable[[ArchiveFile, LongTable, Path], None]] = {
        ".csv": _write_csv,
        ".json": _write_json,
        ".parquet": _write_parquet,
        ".nc": _write_netcdf,
    }
    if output.suffix.lower() not in writers:
        raise OptionError(f"{output}: end its name in {', '.join(writers)}")
    tables = _TABLES.get(archive.schema.kind)
    if not tables:
        raise OptionError(f"archives of the kind {archive.schema.kind!r} have no tables")
    table = table or next(iter(tables))
    if table not in tables:
        raise OptionError(f"unknown table {table!r}: use {', '.join(tables)}")
    if output.exists() and output.samefile(archive.path):
        raise OptionError(f"{output}: is the archive itself; write elsewhere")
    _check_replaced(output, tables, archive.declared)
    made = _table(archive, tables[table])
    with finished_file(output) as temporary:
        writers[output.suffix.lower()](archive, made, temporary)


def _check_replaced(
    output: Path, tables: Mapping[str, Sequence[str]], declared: Mapping[str, Variable]
) -> None:
    """Check that only the result of an earlier conversion is replaced.

    Raises:
        OptionError: if something else is there.
    """
    marks = {
        ".csv": [
            ",".join(_heads({c: declared[c].units for c in columns if c in declared})).encode()
            for columns in tables.values()
        ],
        ".json": [b'"tool_version"'],
        ".parquet": [b"iaside"],
        ".nc": [b"tool_version"],
    }
    check_output_file(output, marks[output.suffix.lower()], overwrite=True)
    if output.suffix.lower() == ".nc" and output.exists():
        # Archives may be called .nc too, and took hours.
        with suppress(ArchiveError):
            open_any(output)
            raise OptionError(f"{output}: is an archive, not a conversion of one; write elsewhere")


def _heads(units: Mapping[str, str]) -> list[str]:
    """Heads of the columns of a CSV file."""
    return [f"{name} [{unit}]" if unit not in ("", "1") else name for name, unit in units.items()]


def _table(archive: ArchiveFile, columns: Sequence[str]) -> LongTable:
    declared = archive.declared
    # The axes of the table are those of the variable with the most axes.
    widest = max(columns, key=lambda column: len(declared[column].dims))
    dims = declared[widest].dims

    def blocks() -> Iterator[Mapping[str, NDArray[Any]]]:
        for rows in archive.pieces(widest):
            block = {column: _rows(archive, column, dims, rows) for column in columns}
            shape = np.broadcast_shapes(*(values.shape for values in block.values()))
            flat = {c: np.broadcast_to(values, shape).ravel() for c, values in block.items()}
            # A streamed value that was not evaluated gets no row.
            gaps = [np.isnan(flat[c]) for c in columns if flat[c].dtype.kind == "f" and
                    declared[c].streamed]  # fmt: skip
            kept = ~np.any(gaps, axis=0) if gaps else np.ones(math.prod(shape), dtype=bool)
            yield {column: values[kept] for column, values in flat.items()}

    return LongTable({column: declared[column].units for column in columns}, blocks)


def _rows(archive: ArchiveFile, name: str, dims: tuple[str, ...], rows: slice) -> NDArray[Any]:
    """A range of rows of a variable, with length 1 for each axis of the table that it lacks."""
    own = archive.declared[name].dims
    values = archive.rows(name, rows.start, rows.stop) if own[0] == dims[0] else archive[name]
    sizes = iter(values.shape)
    return values.reshape([next(sizes) if dim in own else 1 for dim in dims])


def _write_csv(_archive: ArchiveFile, table: LongTable, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_heads(table.units))
        for block in table.blocks():
            writer.writerows(zip(*(block[c].tolist() for c in table.units), strict=True))


def _write_json(archive: ArchiveFile, table: LongTable, path: Path) -> None:
    blocks = list(table.blocks())
    columns = {
        name: [_plain(value) for block in blocks for value in block[name].tolist()]
        for name in table.units
    }
    scalars = [name for name, variable in archive.declared.items() if not variable.dims]
    scores = {name: _plain(float(archive[name])) for name in scalars}
    data = {
        "metadata": _metadata(archive),
        **scores,
        "units": dict(table.units),
        "columns": columns,
    }
    path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """The value, or None, which becomes null, for NaN and infinity, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_parquet(archive: ArchiveFile, table: LongTable, path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExtraMissingError(
            f"Parquet files need PyArrow ({error}): {install_extra('parquet')}"
        ) from error
    writer = None
    try:
        for block in table.blocks():
            arrays = {name: pyarrow.array(block[name]) for name in table.units}
            fields = [
                pyarrow.field(name, array.type, metadata={"units": table.units[name]})
                for name, array in arrays.items()
            ]
            metadata = {"iaside": json.dumps(_metadata(archive))}
            schema = pyarrow.schema(fields, metadata=metadata)
            writer = writer or parquet.ParquetWriter(path, schema)
            writer.write_table(pyarrow.table(list(arrays.values()), schema=schema))
    finally:
        if writer is not None:
            writer.close()


def _metadata(archive: ArchiveFile) -> dict[str, Any]:
    return {name: _plain(value) for name, value in asdict(archive.metadata).items()}


def _check_room(path: Path, size: int) -> None:
    """Check that there is enough disk space: HDF5 crashes on a full disk.

    Raises:
        ArchiveError: if there is not enough.
    """
    free = shutil.disk_usage(path.parent).free
    if free < size + _HEADROOM:
        raise ArchiveError(
            f"{path.parent}: the disk is full: {size + _HEADROOM} bytes are needed and {free} are "
            "free; make room"
        )


def _write_netcdf(archive: ArchiveFile, _table: LongTable, path: Path) -> None:
    try:
        import xarray
    except ImportError as error:
        raise ExtraMissingError(
            f"NetCDF files need xarray ({error}): {install_extra('netcdf')}"
        ) from error
    try:
        with xarray.open_dataset(archive.path, engine="h5netcdf") as dataset:
            dataset.load()
            _check_room(path, dataset.nbytes)
            # The encoding of the archive, such as fixed-length text, is not valid in NetCDF.
            for variable in dataset.variables.values():
                variable.encoding.clear()
            dataset.to_netcdf(path, engine="h5netcdf", invalid_netcdf=False)
    except (ImportError, ModuleNotFoundError) as error:
        raise ExtraMissingError(
            f"NetCDF files need h5netcdf ({error}): {install_extra('netcdf')}"
        ) from error

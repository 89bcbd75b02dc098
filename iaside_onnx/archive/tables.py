"""An archive as plain tables in long form, for programs that do not read HDF5."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive.reading import Archive
from iaside_onnx.archive.schema import variables_of
from iaside_onnx.errors import ArchiveError, ExtraMissingError, OptionError
from iaside_onnx.files import finished_file

__all__ = ["TABLES", "TableName", "convert"]

TableName: TypeAlias = Literal["contributions", "bands", "worth"]
TABLES: tuple[TableName, ...] = ("contributions", "bands", "worth")

_ROWS = 256
_HEADROOM = 1 << 20
_IMAGE = ("image", "image_id", "label", "predicted")
_BAND = ("band", "band_low", "band_high")


@dataclass(frozen=True, slots=True)
class _Table:
    """Columns by their variable's name, and their rows some at a time."""

    units: Mapping[str, str]
    blocks: Callable[[], Iterator[Mapping[str, NDArray[Any]]]]


def convert(archive: Archive, output: Path, table: TableName = "contributions") -> None:
    """Write a table of an archive as CSV, JSON or Parquet, or all of it as NetCDF.

    Args:
        archive: to convert.
        output: by its suffix ``.csv``, ``.json``, ``.parquet`` or ``.nc``.
        table: ``contributions``, a row for each image and band; ``bands``, a row for each band; or
            ``worth``, a row for each image and coalition. NetCDF holds all of them.

    Raises:
        OptionError: the suffix or the table is another, or the output is the archive itself.
        ExtraMissingError: a package that writes this format is not installed.
        ArchiveError: the archive cannot be read, or the file not be written.
    """
    writers: dict[str, Callable[[Archive, _Table, Path], None]] = {
        ".csv": _write_csv,
        ".json": _write_json,
        ".parquet": _write_parquet,
        ".nc": _write_netcdf,
    }
    if output.suffix.lower() not in writers:
        raise OptionError(f"{output}: end its name in {', '.join(writers)}")
    if table not in TABLES:
        raise OptionError(f"unknown table {table!r}: use {', '.join(TABLES)}")
    if output.exists() and output.samefile(archive.path):
        raise OptionError(f"{output}: is the archive itself; write elsewhere")
    if not output.absolute().parent.is_dir():
        raise OptionError(f"{output}: its folder does not exist; make it")
    made = _table(archive, table)
    with finished_file(output) as temporary:
        writers[output.suffix.lower()](archive, made, temporary)


def _table(archive: Archive, name: TableName) -> _Table:
    declared = variables_of(sampled=archive.sampled)
    columns: tuple[str, ...]
    if name == "bands":
        ends = [f"{what}{end}" for what in ("phi", "psi") for end in ("", "_low", "_high")]
        columns = (*_BAND, *ends)

        def blocks() -> Iterator[Mapping[str, NDArray[Any]]]:
            yield {column: archive[column] for column in columns}
    elif name == "contributions":
        columns = (*_IMAGE, *_BAND, "phi_image")

        def blocks() -> Iterator[Mapping[str, NDArray[Any]]]:
            for rows in _runs(archive):
                yield _crossed(archive, rows, archive.bands) | {
                    **{c: np.tile(archive[c], len(archive["image"][rows])) for c in _BAND},
                    "phi_image": archive["phi_image"][rows].ravel(),
                }
    else:
        columns = (*_IMAGE, "coalition", "worth")

        def blocks() -> Iterator[Mapping[str, NDArray[Any]]]:
            for rows in _runs(archive):
                worth = archive.worth(rows.start, rows.stop)
                masks = archive.coalitions(rows.start, rows.stop)
                # A slot that was not evaluated is no row.
                kept = ~np.isnan(worth.ravel())
                crossed = _crossed(archive, rows, worth.shape[1])
                every = crossed | {"coalition": masks.ravel(), "worth": worth.ravel()}
                yield {column: values[kept] for column, values in every.items()}

    return _Table({column: declared[column].units for column in columns}, blocks)


def _runs(archive: Archive) -> Iterator[slice]:
    n = archive["image"].size
    for start in range(0, n, _ROWS):
        yield slice(start, min(start + _ROWS, n))


def _crossed(archive: Archive, rows: slice, times: int) -> dict[str, NDArray[Any]]:
    return {name: np.repeat(archive[name][rows], times) for name in _IMAGE}


def _write_csv(_archive: Archive, table: _Table, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f"{c} [{u}]" if u not in ("", "1") else c for c, u in table.units.items()])
        for block in table.blocks():
            writer.writerows(zip(*(block[c].tolist() for c in table.units), strict=True))


def _write_json(archive: Archive, table: _Table, path: Path) -> None:
    blocks = list(table.blocks())
    columns = {
        name: [_plain(value) for block in blocks for value in block[name].tolist()]
        for name in table.units
    }
    scores = {name: _plain(float(archive[name])) for name in ("sis", "sis_low", "sis_high")}
    data = {
        "metadata": _about(archive),
        **scores,
        "units": dict(table.units),
        "columns": columns,
    }
    path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """NaN, which JSON lacks, as null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_parquet(archive: Archive, table: _Table, path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExtraMissingError(
            f"Parquet files need PyArrow ({error}): pip install 'iaside-onnx[parquet]'"
        ) from error
    writer = None
    try:
        for block in table.blocks():
            arrays = {name: pyarrow.array(block[name]) for name in table.units}
            fields = [
                pyarrow.field(name, array.type, metadata={"units": table.units[name]})
                for name, array in arrays.items()
            ]
            about = {"iaside": json.dumps(_about(archive))}
            schema = pyarrow.schema(fields, metadata=about)
            writer = writer or parquet.ParquetWriter(path, schema)
            writer.write_table(pyarrow.table(list(arrays.values()), schema=schema))
    finally:
        if writer is not None:
            writer.close()


def _about(archive: Archive) -> dict[str, Any]:
    return {name: _plain(value) for name, value in asdict(archive.metadata).items()}


def _check_room(path: Path, size: int) -> None:
    """HDF5 crashes on a full disk, so make sure that there is room.

    Raises:
        ArchiveError: if there is not.
    """
    free = shutil.disk_usage(path.parent).free
    if free < size + _HEADROOM:
        raise ArchiveError(
            f"{path.parent}: the disk is full: {size + _HEADROOM} bytes are needed and {free} are "
            "free; make room"
        )


def _write_netcdf(archive: Archive, _table: _Table, path: Path) -> None:
    try:
        import xarray
    except ImportError as error:
        raise ExtraMissingError(
            f"NetCDF files need xarray ({error}): pip install 'iaside-onnx[netcdf]'"
        ) from error
    try:
        with xarray.open_dataset(archive.path, engine="h5netcdf") as dataset:
            dataset.load()
            _check_room(path, dataset.nbytes)
            # How the archive keeps them, text as bytes of a fixed length, is not for NetCDF.
            for variable in dataset.variables.values():
                variable.encoding.clear()
            dataset.to_netcdf(path, engine="h5netcdf", invalid_netcdf=False)
    except (ImportError, ModuleNotFoundError) as error:
        raise ExtraMissingError(
            f"NetCDF files need h5netcdf ({error}): pip install 'iaside-onnx[netcdf]'"
        ) from error

"""Files that hold a table of an archive, or all of it: CSV, JSON, Parquet, NetCDF.

Nothing is held in memory but a block of rows. No attribute of the archive decides how a value is
read: an archive may come from a stranger.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from iaside_onnx.analysis.tables import LongTable
from iaside_onnx.archive import ArchiveFile, stored_attributes
from iaside_onnx.errors import ArchiveError, ExtraMissingError, install_extra

__all__ = ["WRITERS", "csv_first_lines"]

_HEADROOM = 1 << 20
# Spreadsheets take a cell that begins so for a formula; OWASP, "CSV Injection".
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_CONTROL = ("Cc", "Zl", "Zp")
_SAID = "' before = + - @; control characters as \\x.."


def _write_csv(archive: ArchiveFile, table: LongTable, path: Path) -> None:
    units, texts = table.units, table.texts()
    # Names of files may be anybody's.
    changed = [
        name for name in texts if any(_harmless(text) != text for text in archive[name].tolist())
    ]
    heads = _heads(units, changed)
    with path.open("w", newline="", encoding="utf-8") as file:
        # Text is in quotes, as programs also cut cells at semicolons.
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(heads)
        for block in table.blocks():
            cells = {name: values.tolist() for name, values in block.items()}
            for name in texts:
                cells[name] = [_harmless(text) for text in cells[name]]
            writer.writerows(zip(*(cells[c] for c in units), strict=True))


def _heads(units: Mapping[str, str], changed: Collection[str]) -> list[str]:
    """Heads of the columns, which say of which columns texts were changed."""
    heads = {name: f"{name} [{u}]" if u not in ("", "1") else name for name, u in units.items()}
    return list({**heads, **{name: f"{name} [{_SAID}]" for name in changed}}.values())


def csv_first_lines(table: LongTable) -> list[bytes]:
    """The first lines that a CSV file of this table may have, also of earlier versions."""
    units, texts = table.units, table.texts()
    quoted = [",".join(f'"{head}"' for head in _heads(units, changed)) for changed in ([], texts)]
    return [f"{line}\r\n".encode() for line in (*quoted, ",".join(_heads(units, [])))]


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula, and no terminal for a command."""
    shown = "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _CONTROL else c
        for c in text
    )
    return f"'{shown}" if text.startswith(_FORMULA) or shown[:1] != text[:1] else shown


def _write_json(archive: ArchiveFile, table: LongTable, path: Path) -> None:
    scalars = [name for name, variable in archive.declared.items() if not variable.dims]
    data = {
        "metadata": _metadata(archive),
        **{name: _plain(float(archive[name])) for name in scalars},
        "units": table.units,
        "columns": {},
    }
    # Columns are lists, and each may be larger than memory: they are written into the last object.
    text, ending = json.dumps(data, indent=1, allow_nan=False), "{}\n}"
    with path.open("w", encoding="utf-8") as file:
        file.write(text.removesuffix(ending) + "{")
        for place, name in enumerate(table.columns):
            file.write(f"{',' if place else ''}\n  {json.dumps(name)}: [")
            empty = _write_column(file, table, name)
            file.write("]" if empty else "\n  ]")
        file.write("\n }\n}\n")


def _write_column(file: IO[str], table: LongTable, name: str) -> bool:
    """Write the values of a column; whether there are none."""
    before = ""
    for block in table.blocks([name]):
        values = [json.dumps(_plain(value)) for value in block[name].tolist()]
        if values:
            file.write(before + "\n   " + ",\n   ".join(values))
            before = ","
    return not before


def _plain(value: Any) -> Any:
    """The value, or None, which becomes null, for NaN and infinity, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _metadata(archive: ArchiveFile) -> dict[str, Any]:
    return {name: _plain(value) for name, value in asdict(archive.metadata).items()}


def _write_parquet(archive: ArchiveFile, table: LongTable, path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExtraMissingError(
            f"Parquet files need PyArrow ({error}): {install_extra('parquet')}"
        ) from error
    units, writer = table.units, None
    metadata = {"iaside": json.dumps(_metadata(archive))}
    try:
        for block in table.blocks():
            arrays = {name: pyarrow.array(block[name]) for name in units}
            fields = [
                pyarrow.field(name, array.type, metadata={"units": units[name]})
                for name, array in arrays.items()
            ]
            schema = pyarrow.schema(fields, metadata=metadata)
            writer = writer or parquet.ParquetWriter(path, schema)
            writer.write_table(pyarrow.table(list(arrays.values()), schema=schema))
    finally:
        if writer is not None:
            writer.close()


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
        import h5netcdf
    except ImportError as error:
        raise ExtraMissingError(
            f"NetCDF files need h5netcdf ({error}): {install_extra('netcdf')}"
        ) from error
    declared = archive.declared
    _check_room(path, archive.nbytes)
    with h5netcdf.File(path, "w") as file:
        for name, value in stored_attributes(archive.path).items():
            file.attrs[name] = value
        dims = {dim for variable in declared.values() for dim in variable.dims}
        file.dimensions = {dim: archive.size(dim) for dim in sorted(dims)}
        for name, variable in declared.items():
            _write_variable(file, archive, name, variable.dims)


def _write_variable(file: Any, archive: ArchiveFile, name: str, dims: tuple[str, ...]) -> None:
    import h5py

    variable = archive.declared[name]
    text = name in archive.text_names
    dtype = h5py.string_dtype() if text else np.dtype(variable.dtype)
    # As xarray writes it; a coordinate has no missing values.
    empty = np.nan if not text and dtype.kind == "f" else None
    made = file.create_variable(name, dims, dtype=dtype, fillvalue=empty)
    made.attrs["long_name"] = variable.long_name
    if variable.units:
        made.attrs["units"] = variable.units
    if not dims:
        made[...] = archive[name]
        return
    for rows in archive.pieces(name):
        values = archive.rows(name, rows.start, rows.stop)
        made[rows] = values.astype(object) if text else values


WRITERS: Mapping[str, Callable[[ArchiveFile, LongTable, Path], None]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".parquet": _write_parquet,
    ".nc": _write_netcdf,
}
"""What writes a file, by its suffix."""

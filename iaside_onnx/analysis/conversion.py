"""An archive as plain tables in long form, for programs that do not read HDF5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from iaside_onnx.analysis.formats import WRITERS, csv_first_lines
from iaside_onnx.analysis.tables import LongTable
from iaside_onnx.archive import DECOMPOSITION, ArchiveFile, open_any, refuse_changed
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.files import finished_file
from iaside_onnx.outputs import check_output_file, check_recorded

__all__ = ["convert", "register_tables", "table_names", "table_of"]

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


def table_of(archive: ArchiveFile, table: str | None = None) -> LongTable:
    """A table of an archive by its name; by default the first of its kind.

    Raises:
        OptionError: if there is no such table.
    """
    tables = _TABLES.get(archive.schema.kind)
    if not tables:
        raise OptionError(f"archives of the kind {archive.schema.kind!r} have no tables")
    table = table or next(iter(tables))
    if table not in tables:
        raise OptionError(f"unknown table {table!r}: use {', '.join(tables)}")
    return LongTable(archive, tables[table])


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


def convert(
    archive: ArchiveFile | str | Path, output: str | Path, table: str | None = None
) -> None:
    """Write a table of an archive as CSV, JSON or Parquet, or all of it as NetCDF.

    Args:
        archive: the archive to convert.
        output: the file to write; its suffix ``.csv``, ``.json``, ``.parquet`` or ``.nc`` gives the
            format.
        table: of a decomposition ``contributions``, a row for each image and band (default);
            ``bands``, a row for each band; or ``worth``, a row for each image and coalition. NetCDF
            holds all variables.

    Raises:
        OptionError: if the suffix or the table is unknown, or what is at the output is not the
            result of an earlier conversion.
        ExtraMissingError: if a package that writes this format is not installed.
        ArchiveError: if the archive cannot be read, or is not as it was written, or the file cannot
            be written.
    """
    if not isinstance(archive, ArchiveFile):
        archive = open_any(Path(archive))
    output = Path(output)
    if output.suffix.lower() not in WRITERS:
        raise OptionError(f"{output}: end its name in {', '.join(WRITERS)}")
    if output.suffix.lower() == ".parquet":
        # So are the paths that pyarrow takes.
        check_recorded(output.absolute())
    made = table_of(archive, table)
    if output.exists() and output.samefile(archive.path):
        raise OptionError(f"{output}: is the archive itself; write elsewhere")
    _check_replaced(archive, output, _TABLES[archive.schema.kind])
    # A table has no digest that would show what was edited.
    refuse_changed(archive.path, "converted")
    with finished_file(output) as temporary:
        WRITERS[output.suffix.lower()](archive, made, temporary)


def _check_replaced(
    archive: ArchiveFile, output: Path, tables: Mapping[str, Sequence[str]]
) -> None:
    """Check that only the result of an earlier conversion is replaced.

    Raises:
        OptionError: if something else is there.
    """
    marks = {
        ".csv": [
            line
            for columns in tables.values()
            if set(columns) <= set(archive.declared)
            for line in csv_first_lines(LongTable(archive, columns))
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

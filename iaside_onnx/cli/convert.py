"""``iaside convert``: an archive as CSV, JSON, Parquet or NetCDF."""

from __future__ import annotations

from pathlib import Path

import click

from iaside_onnx.analysis import convert as run
from iaside_onnx.analysis import table_names
from iaside_onnx.archive import open_any
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.options import out_option

__all__ = ["convert"]

_TABLES = table_names()


@click.command(short_help="Convert an archive to CSV, JSON, Parquet or NetCDF.")
@click.argument("archive", type=click.Path(path_type=Path))
@out_option("OUT.csv|.json|.parquet|.nc", "The file to write; an earlier conversion is replaced.")
@click.option(
    "--table", type=click.Choice(_TABLES), default=_TABLES[0], show_default=True,
    help="A row for each image and band, for each band, or for each image and coalition; NetCDF "
    "holds all of them.",
)  # fmt: skip
@limited
def convert(archive: Path, out: Path, table: str) -> None:
    """Write a table of ARCHIVE in long form, with units in the header or the metadata.

    \b
    Example:
        iaside convert demo.h5 -o demo.csv --table bands
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    run(open_any(archive), out, table)
    click.echo(out)

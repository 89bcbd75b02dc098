"""``iaside convert``: an archive for programs that do not read HDF5."""

from __future__ import annotations

from pathlib import Path

import click

from iaside_onnx.analysis import convert as run
from iaside_onnx.analysis import table_names
from iaside_onnx.archive import open_archive
from iaside_onnx.cli.limits import limited

__all__ = ["convert"]


@click.command(short_help="Convert an archive to CSV, JSON, Parquet or NetCDF.")
@click.argument("archive", type=click.Path(path_type=Path))
@click.option(
    "-o", "output", required=True, type=click.Path(path_type=Path),
    metavar="OUT.csv|.json|.parquet|.nc", help="The file to write, which is replaced.",
)  # fmt: skip
@click.option(
    "--table", type=click.Choice(table_names()), default=table_names()[0], show_default=True,
    help="A row for each image and band, for each band, or for each image and coalition; NetCDF "
    "holds all.",
)  # fmt: skip
@limited
def convert(archive: Path, output: Path, table: str) -> None:
    """Write a table of ARCHIVE in long form, with units in the header or the metadata.

    \b
    Example:
        iaside convert demo.h5 -o demo.csv --table bands
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    run(open_archive(archive), output, table)
    click.echo(output)

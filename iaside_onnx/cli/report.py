"""``iaside report``: archives as a page for people."""

from __future__ import annotations

from pathlib import Path

import click

from iaside_onnx.cli.commands import Command
from iaside_onnx.cli.console import ConsoleProgress, print_line
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.options import out_option
from iaside_onnx.report import write_report

__all__ = ["report"]


@click.command(cls=Command, short_help="Write what archives say as one HTML page.")
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path))
@out_option("OUT.html", "The page to write; an earlier page is replaced.")
@click.option(
    "--images", type=click.Path(path_type=Path), metavar="SRC",
    help="Where the images are, as in `iaside decompose`: shows the bands of one of them. Without "
    "it the page holds no pixel of any image.",
)  # fmt: skip
@click.option(
    "--classes", type=click.Path(path_type=Path), metavar="FILE",
    help="Names of the classes, as in `iaside decompose`; by default those of the class folders.",
)  # fmt: skip
@limited
def report(
    archives: tuple[Path, ...], out: Path, images: Path | None, classes: Path | None
) -> None:
    """Write one page about ARCHIVES: the answer in words, charts, and where it comes from.

    The page is one file that loads nothing and runs no script. Several archives are compared; they
    must have the same bands.

    \b
    Example:
        iaside report demo.h5 -o demo.html
        iaside report cnn.h5 vit.h5 -o both.html --images photos
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    write_report(archives, out, images=images, classes=classes, progress=ConsoleProgress())
    print_line(str(out))

"""``iaside merge``: archives of disjoint images as one."""

from __future__ import annotations

from pathlib import Path

import click

import iaside_onnx
from iaside_onnx.cli.console import ConsoleProgress
from iaside_onnx.cli.decompose import check_name
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.show import print_result

__all__ = ["merge"]


@click.command(short_help="Merge archives of one model over disjoint images into one.")
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "output", required=True, type=click.Path(path_type=Path), metavar="OUT.h5",
    help="The archive to write.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace it, if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the result for machines.")
@limited
def merge(archives: tuple[Path, ...], output: Path, overwrite: bool, as_json: bool) -> None:
    """Put ARCHIVES together: of one model, one set of options, and images that are in one only.

    Contributions, scores and intervals are estimated anew over all images. Anything that differs
    but the images is refused by name.

    \b
    Example:
        iaside merge monday.h5 tuesday.h5 -o week.h5
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    check_name(output)
    merged = iaside_onnx.merge(archives, output, overwrite=overwrite, progress=ConsoleProgress())
    print_result(merged, as_json=as_json)

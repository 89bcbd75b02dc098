"""``iaside merge``: archives of disjoint images as one."""

from __future__ import annotations

from pathlib import Path

import click

from iaside_onnx.analysis import merge as run
from iaside_onnx.cli.commands import Command
from iaside_onnx.cli.console import ConsoleProgress
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.options import check_name, json_option, out_option, overwrite_option
from iaside_onnx.cli.show import print_result

__all__ = ["merge"]


@click.command(cls=Command, short_help="Merge archives of one model over disjoint images into one.")
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path))
@out_option("OUT.h5", "The archive to write.")
@overwrite_option
@json_option
@limited
def merge(archives: tuple[Path, ...], out: Path, overwrite: bool, as_json: bool) -> None:
    """Merge ARCHIVES of one model and one set of options over disjoint images.

    Contributions, scores and intervals are estimated again over all images. Archives that differ
    in anything but the images are refused, with the difference named.

    \b
    Example:
        iaside merge monday.h5 tuesday.h5 -o week.h5
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    check_name(out)
    merged = run(archives, out, overwrite=overwrite, progress=ConsoleProgress())
    print_result(merged, as_json=as_json)

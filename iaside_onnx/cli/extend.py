"""``iaside extend``: more evaluations for a sampled archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import iaside_onnx
from iaside_onnx.cli.console import ConsoleProgress
from iaside_onnx.cli.decompose import limit_options
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.show import print_result

__all__ = ["extend"]


@click.command(short_help="Go on with a sampled archive where it stopped.")
@click.argument("archive", type=click.Path(path_type=Path))
@limit_options
@click.option(
    "--model", type=click.Path(path_type=Path), metavar="MODEL",
    help="Where the model is, if it has moved.",
)  # fmt: skip
@click.option(
    "--images", type=click.Path(path_type=Path), metavar="SRC",
    help="Where the images are, if they have moved.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result for machines.")
@limited
def extend(archive: Path, as_json: bool, **options: Any) -> None:
    """Evaluate more of what ARCHIVE is a sample of, with the options that it was made with.

    The budget counts all evaluations, those that the archive has included. The archive is replaced
    when the run is finished; the same command again resumes one that was interrupted.

    \b
    Example:
        iaside extend sample.h5 --budget 30000
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    extended = iaside_onnx.extend(archive, progress=ConsoleProgress(), **options)
    print_result(extended, as_json=as_json)

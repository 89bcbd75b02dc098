"""``iaside extend``: more evaluations for a sampled archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from iaside_onnx.cli.commands import Command
from iaside_onnx.cli.console import ConsoleProgress
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.options import (
    given,
    json_option,
    limit_options,
    moved_options,
    workers_option,
)
from iaside_onnx.cli.show import print_result
from iaside_onnx.runs import extend as run

__all__ = ["extend"]


@click.command(cls=Command, short_help="Go on with a sampled archive where it stopped.")
@click.argument("archive", type=click.Path(path_type=Path))
@limit_options
@workers_option
@moved_options(
    model="Where the model is, if it has moved.",
    images="Where the images are, if they have moved.",
)
@json_option
@limited
def extend(archive: Path, as_json: bool, **options: Any) -> None:
    """Continue the sampling of ARCHIVE, with the options that it was made with.

    The budget counts all evaluations, also those that the archive holds already. The archive is
    replaced when the run is finished; the same command again resumes an interrupted run. An archive
    with which iaside verify finds fault is refused.

    \b
    Example:
        iaside extend sample.h5 --budget 30000
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    extended = run(archive, progress=ConsoleProgress(), **given(options))
    print_result(extended, as_json=as_json)

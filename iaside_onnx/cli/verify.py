"""``iaside verify``: check an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from iaside_onnx.analysis import Verification
from iaside_onnx.cli.commands import Command
from iaside_onnx.cli.console import ConsoleProgress, printable, results, write_json
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.options import given, json_option, moved_options
from iaside_onnx.runs import verify as run

__all__ = ["verify"]

_SECONDS = 600.0
"""Default limit for reading an archive: a damaged file can make HDF5 loop for ever."""


@click.command(cls=Command, short_help="Check an archive: schema, checksums, digest, arithmetic.")
@click.argument("archive", type=click.Path(path_type=Path))
@moved_options(
    model="Compare with this model, and evaluate some worths again.",
    images="Compare with these images; by default those that the archive names.",
)
@click.option(
    "--sample", type=int, metavar="N",
    help="Number of worths to evaluate again, by default 64; with the model and images that the "
    "archive names, unless others are given.",
)  # fmt: skip
@json_option
@limited
def verify(archive: Path, as_json: bool, **options: Any) -> int:
    """Check that ARCHIVE is as it was written, and that its results follow from its worths.

    Exit 0 if nothing is wrong; otherwise exit 1 and print what is wrong, and where. The file is
    read in a process of its own, for ten minutes at most unless --timeout says otherwise.

    \b
    Example:
        iaside verify demo.h5
        iaside verify demo.h5 --sample 200
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    seconds = click.get_current_context().params["timeout"] or _SECONDS
    found = run(archive, timeout=seconds, progress=ConsoleProgress(), **given(options))
    if as_json:
        write_json(_as_json(found))
    else:
        console = results()
        for line in _lines(found):
            console.print(printable(line), soft_wrap=True)
    return 1 if found.problems else 0


def _lines(found: Verification) -> list[str]:
    meta = found.archive.metadata
    head = f"{found.archive.path}: {', '.join(found.checked)}"
    if found.problems:
        return [f"{head}: {len(found.problems)} problem(s)", *found.problems]
    return [f"{head}: all is well", f"digest     {meta.digest}"]


def _as_json(found: Verification) -> dict[str, object]:
    return {
        "archive": str(found.archive.path),
        "digest": found.archive.metadata.digest,
        "checked": found.checked,
        "problems": found.problems,
    }

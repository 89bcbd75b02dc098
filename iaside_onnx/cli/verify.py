"""``iaside verify``: whether an archive is what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from iaside_onnx.cli.console import ConsoleProgress, printable, results, write_json
from iaside_onnx.cli.limits import limited
from iaside_onnx.analysis import Verification
from iaside_onnx.runs import verify as check

__all__ = ["verify"]

_SECONDS = 600.0
"""What reading an archive may take if nothing is said: damaged ones keep HDF5 busy for ever."""


@click.command(short_help="Check an archive: schema, checksums, digest, arithmetic.")
@click.argument("archive", type=click.Path(path_type=Path))
@click.option(
    "--model", type=click.Path(path_type=Path), metavar="MODEL",
    help="Compare with this model, and evaluate some worths again.",
)  # fmt: skip
@click.option(
    "--images", type=click.Path(path_type=Path), metavar="SRC",
    help="Compare with these images; by default those that the archive names.",
)  # fmt: skip
@click.option(
    "--sample", type=int, metavar="N",
    help="Worths to evaluate again, with the model and images that the archive names if no others "
    "are given; 64 unless said.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@limited
def verify(archive: Path, as_json: bool, **options: Any) -> int:
    """Check that ARCHIVE is as it was written, and that its results follow from its worths.

    Exit 0 if all is well, 1 with what is wrong, and where. The file is read in a process of its
    own, which may take ten minutes unless --timeout says otherwise.

    \b
    Example:
        iaside verify demo.h5
        iaside verify demo.h5 --sample 200
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    seconds = click.get_current_context().params["timeout"] or _SECONDS
    found = check(archive, timeout=seconds, progress=ConsoleProgress(), **options)
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

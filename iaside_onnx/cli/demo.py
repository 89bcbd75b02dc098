"""``iaside demo``: the main job on a bundled model and bundled images."""

from __future__ import annotations

from pathlib import Path

import click

import iaside_onnx
from iaside_onnx.cli.commands import Command
from iaside_onnx.cli.console import ConsoleProgress, print_line, write_json
from iaside_onnx.cli.options import check_name, json_option, overwrite_option
from iaside_onnx.cli.show import print_archive, summary
from iaside_onnx.errors import IasideError
from iaside_onnx.images import BUNDLED_CLASSES, BUNDLED_IMAGES, bundled_folder
from iaside_onnx.report import check_page, write_report

__all__ = ["demo"]

_MODEL = "fashion-cnn"


@click.command(cls=Command, short_help="Decompose a bundled model on bundled images.")
@click.option("--model", metavar="NAME", help=f"Which one, by default {_MODEL}.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="OUT.h5",
    help="The archive to write, by default demo.h5, or demo-NAME.h5 with --model NAME; the page "
    "goes beside it.",
)  # fmt: skip
@overwrite_option
@json_option
def demo(model: str | None, out: Path | None, overwrite: bool, as_json: bool) -> None:
    """Decompose a bundled classifier of Fashion-MNIST on 1,000 bundled test images.

    The result is an archive, and an HTML page beside it.

    \b
    Example:
        iaside demo
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    folder = bundled_folder()
    names = sorted(path.stem for path in folder.glob("*.onnx"))
    if model is not None and model not in names:
        raise IasideError(f"no bundled model {model!r}; there are {', '.join(names)}")
    if out is None:
        # One name a model, so that each demo leaves those of the others as they are.
        out = Path("demo.h5" if model is None else f"demo-{model}.h5")
    check_name(out)
    page = out.with_suffix(".html")
    check_page(page)
    archive = iaside_onnx.decompose(
        folder / f"{model or _MODEL}.onnx",
        folder / BUNDLED_IMAGES,
        out,
        progress=ConsoleProgress(),
        overwrite=overwrite,
    )
    write_report(
        archive,
        page,
        images=folder / BUNDLED_IMAGES,
        classes=folder / BUNDLED_CLASSES,
        progress=ConsoleProgress(),
    )
    if as_json:
        write_json(summary(archive))
        return
    print_archive(archive)
    print_line(f"archive    {out}, page {page}; again: iaside show {out}")

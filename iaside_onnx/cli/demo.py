"""``iaside demo``: the main job on a bundled model and bundled images."""

from __future__ import annotations

from pathlib import Path

import click

import iaside_onnx
from iaside_onnx.cli.commands import Command
from iaside_onnx.cli.console import ConsoleProgress, print_line, write_json
from iaside_onnx.cli.options import check_name, json_option, out_option
from iaside_onnx.cli.show import print_archive, summary
from iaside_onnx.errors import IasideError
from iaside_onnx.images import BUNDLED_IMAGES, bundled_folder
from iaside_onnx.report import check_page, write_page

__all__ = ["demo"]


@click.command(cls=Command, short_help="Decompose a bundled model on bundled images.")
@click.option(
    "--model", default="fashion-cnn", show_default=True, metavar="NAME", help="Which one."
)
@out_option("OUT.h5", "The archive to write; the page goes beside it.", Path("demo.h5"))
@json_option
def demo(model: str, out: Path, as_json: bool) -> None:
    """Decompose a bundled classifier of Fashion-MNIST on 1,000 bundled test images.

    The result is an archive, and an HTML page beside it.

    \b
    Example:
        iaside demo
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    folder = bundled_folder()
    names = sorted(path.stem for path in folder.glob("*.onnx"))
    if model not in names:
        raise IasideError(f"no bundled model {model!r}; there are {', '.join(names)}")
    check_name(out)
    page = out.with_suffix(".html")
    check_page(page)
    archive = iaside_onnx.decompose(
        folder / f"{model}.onnx",
        folder / BUNDLED_IMAGES,
        out,
        progress=ConsoleProgress(),
    )
    write_page(archive, page)
    if as_json:
        write_json(summary(archive))
        return
    print_archive(archive)
    print_line(f"archive    {out}, page {page}; again: iaside show {out}")

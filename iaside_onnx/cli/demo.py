"""``iaside demo``: the main job on a bundled model and bundled images."""

from __future__ import annotations

from pathlib import Path

import click

import iaside_onnx
from iaside_onnx.cli.console import ConsoleProgress, write_json
from iaside_onnx.cli.show import print_archive, summary
from iaside_onnx.errors import IasideError
from iaside_onnx.images import BUNDLED_IMAGES, bundled_folder
from iaside_onnx.report import write_page

__all__ = ["demo"]


@click.command(short_help="Decompose a bundled model on bundled images.")
@click.option("--model", default="fashion-cnn", show_default=True, metavar="NAME")
@click.option(
    "-o", "output_file", type=click.Path(path_type=Path), default=Path("demo.h5"),
    show_default=True, metavar="OUT.h5",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result for machines.")
def demo(model: str, output_file: Path, as_json: bool) -> None:
    """Decompose a bundled classifier of Fashion-MNIST on 1,000 bundled test images.

    \b
    Example:
        iaside demo
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    folder = bundled_folder()
    names = sorted(path.stem for path in folder.glob("*.onnx"))
    if model not in names:
        raise IasideError(f"no bundled model {model!r}; there are {', '.join(names)}")
    archive = iaside_onnx.decompose(
        folder / f"{model}.onnx",
        folder / BUNDLED_IMAGES,
        output_file,
        progress=ConsoleProgress(),
    )
    page = output_file.with_suffix(".html")
    write_page(archive, page)
    if as_json:
        write_json(summary(archive))
        return
    print_archive(archive)
    click.echo(f"archive    {output_file}, page {page}; again: iaside show {output_file}")

"""``iaside decompose``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

import iaside_onnx
from iaside_onnx.cli.commands import Command
from iaside_onnx.cli.console import ConsoleProgress
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.options import (
    check_name,
    device_options,
    input_layout_option,
    input_size_option,
    json_option,
    key_options,
    limit_options,
    out_option,
    output_kind_option,
    output_name_option,
    renamed,
    workers_option,
)
from iaside_onnx.cli.show import print_result
from iaside_onnx.game import design_names
from iaside_onnx.runs import Options
from iaside_onnx.types import (
    BASELINES,
    INFERENCES,
    PARTITIONS,
    PIXEL_RANGES,
    SPACINGS,
)

__all__ = ["decompose"]


def _parse_batch(
    _context: click.Context, _parameter: click.Parameter, value: str
) -> int | Literal["auto"]:
    """A number, or ``auto``."""
    if value == "auto":
        return "auto"
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a whole number nor `auto`") from None


@click.command(cls=Command, short_help="Decompose a model over images, into an archive.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--images", required=True, type=click.Path(path_type=Path), metavar="SRC",
    help="Folder of class folders, flat folder, .npz, .npy, .h5, .parquet or .tar file, or a "
    "folder of Parquet or tar shards.",
)  # fmt: skip
@out_option("OUT.h5", "The archive to write.")
@click.option(
    "--labels", metavar="FILE|folder|predicted",
    help="CSV or JSON of image id and label; the source's own (default); or the model's answers.",
)  # fmt: skip
@click.option(
    "--classes", type=click.Path(path_type=Path), metavar="FILE|in-order|numbers",
    help="JSON from class name to class index or back; or: class folders in string order are "
    "classes 0, 1, ...; or: their names are class indices.",
)  # fmt: skip
@key_options
@click.option(
    "--preprocess", metavar="SPEC",
    help="Spec file (ours, timm's, the hub's), or keras:caffe|tf|torch|raw.",
)  # fmt: skip
@input_size_option
@input_layout_option
@click.option(
    "--bands", type=int, default=Options.bands, show_default=True, metavar="M",
    help="Number of bands, 2 to 64; above 16 only a sample can be taken.",
)  # fmt: skip
@click.option(
    "--partition", type=click.Choice(PARTITIONS), default=Options.partition, show_default=True,
    help="The norm that makes the radius of a frequency.",
)  # fmt: skip
@click.option(
    "--spacing", type=click.Choice(SPACINGS), default=Options.spacing, show_default=True,
    help="Bands of equal width, or each twice as wide as the one below.",
)  # fmt: skip
@click.option(
    "--baseline", type=click.Choice(BASELINES), default=Options.baseline, show_default=True,
    help="What stands in for absent bands.",
)  # fmt: skip
@click.option(
    "--pixel-range", type=click.Choice(PIXEL_RANGES), default=Options.pixel_range,
    show_default=True, help="What to do with filtered pixels outside of [0, 1].",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(["auto", *design_names()]), default=Options.method,
    show_default=True,
    help="Every coalition of every image, or a sample; auto is exact where the budget allows it.",
)  # fmt: skip
@limit_options
@click.option(
    "--inference", type=click.Choice(INFERENCES), default=Options.inference,
    show_default=True,
    help="Intervals for the population that the images were drawn from, or for these images alone.",
)  # fmt: skip
@output_name_option
@output_kind_option
@click.option("--limit", type=int, metavar="N", help="Take N images, balanced over the classes.")
@click.option(
    "--batch-size", callback=_parse_batch, default=str(Options.batch_size), show_default=True,
    metavar="N|auto",
    help="Filtered images per call of the model; auto measures a few sizes and takes the fastest.",
)  # fmt: skip
@device_options
@click.option(
    "--allow-nondeterministic", is_flag=True,
    help="Go on with a model whose answers are random or depend on its batch; recorded.",
)  # fmt: skip
@click.option(
    "--threads", type=int, metavar="N",
    help="Threads of each worker on the CPU; by default the usable cores divided among them.",
)  # fmt: skip
@workers_option
@click.option(
    "--seed", type=int, default=Options.seed, show_default=True, metavar="N",
    help="Seed of every random choice: the sample, --limit, the baselines noise and complement.",
)  # fmt: skip
@click.option(
    "--on-bad-image", type=click.Choice(["error", "skip"]), default=Options.on_bad_image,
    show_default=True, help="Fail at the end, or record the image and go on.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the output of another run.")
@click.option(
    "--profile", type=click.Path(path_type=Path), metavar="FILE.json",
    help="Write the time of each phase to this file and to the archive.",
)  # fmt: skip
@json_option
@limited
@renamed("--range", "--pixel-range", type=click.Choice(PIXEL_RANGES))
@renamed(
    "--about", "--inference", {"images": "sample"}, type=click.Choice(["population", "images"])
)
@renamed("--output", "--output-name")
def decompose(model: Path, images: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Decompose the predictive power of MODEL, an ONNX file, over the frequency bands of images.

    The same command again resumes a run that was interrupted.

    \b
    Example:
        iaside decompose models/fashion-cnn.onnx --images models/fashion-mnist-1000.npz -o cnn.h5
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    check_name(out)
    archive = iaside_onnx.decompose(model, images, out, progress=ConsoleProgress(), **options)
    print_result(archive, as_json=as_json)

"""``iaside decompose``: the main job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

import iaside_onnx
from iaside_onnx.cli.console import ConsoleProgress
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.show import print_result
from iaside_onnx.runs import DEFAULT_BUDGET, Options
from iaside_onnx.errors import OptionError
from iaside_onnx.game import design_names
from iaside_onnx.types import BASELINES, OUTPUT_KINDS, PARTITIONS, PIXEL_RANGES, SPACINGS

__all__ = [
    "check_name",
    "decompose",
    "device_options",
    "input_size_option",
    "limit_options",
    "together",
]


def _parse_size(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[int, int, int] | None:
    """``C,H,W`` as three numbers."""
    if value is None:
        return None
    parts = value.split(",")
    if len(parts) != 3 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise click.BadParameter(f"{value!r} is not C,H,W, such as 3,224,224")
    channels, height, width = map(int, parts)
    return channels, height, width


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


def _parse_provider_options(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str] | None:
    """``KEY=VALUE`` pairs as a mapping."""
    pairs = [value.partition("=") for value in values]
    for value, (key, equals, _) in zip(values, pairs, strict=True):
        if not key or not equals:
            raise click.BadParameter(
                f"{value!r} is not KEY=VALUE, such as gpu_mem_limit=2000000000"
            )
    return {key: text for key, _, text in pairs} or None


def check_name(output: Path) -> None:
    """Refuse a name under which nobody would look for an archive.

    Raises:
        OptionError: if it has another suffix.
    """
    if output.suffix not in {".h5", ".hdf5", ".nc"}:
        raise OptionError(f"{output}: an archive is an HDF5 file; end its name in .h5")


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Options that several commands share, in this order, as one decorator."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# Where the model runs, and how; for every command that runs one.
device_options = together(
    click.option(
        "--device", default=Options.device, show_default=True, metavar="auto|cpu|cuda[:i]",
        help="auto: CUDA where the installed ONNX Runtime has it, else the CPU.",
    ),
    click.option(
        "--provider", metavar="EP",
        help="An ONNX Runtime execution provider by name, such as OpenVINOExecutionProvider.",
    ),
    click.option(
        "--provider-option", "provider_options", multiple=True, metavar="KEY=VALUE",
        callback=_parse_provider_options,
        help="An option of the provider itself; may be given several times.",
    ),
    click.option("--tf32", is_flag=True, help="Let CUDA round float32 to 10 bits, for speed."),
    click.option(
        "--cuda-graph", is_flag=True,
        help="Let CUDA record the model once and replay it; not every model allows it.",
    ),
    click.option(
        "--allow-cpu-nodes", is_flag=True,
        help="Let the CPU run operators that the device or provider does not have.",
    ),
)  # fmt: skip


# How far a sampled run goes.
limit_options = together(
    click.option(
        "--budget", type=int, metavar="N",
        help=f"Evaluations in all; by default {DEFAULT_BUDGET:,}, or what a target takes.",
    ),
    click.option(
        "--target-se", type=float, metavar="X",
        help="Sample until no band's phi has a standard error above X nats.",
    ),
    click.option(
        "--target-sis-width", type=float, metavar="X",
        help="Sample until the interval of SIS reaches no more than X to each side.",
    ),
)  # fmt: skip


input_size_option = click.option(
    "--input-size",
    callback=_parse_size,
    metavar="C,H,W",
    help="Channels, height and width, where nothing else says them, as 3,224,224.",
)


@click.command(short_help="Decompose a model over images, into an archive.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--images", "source", required=True, type=click.Path(path_type=Path), metavar="SRC",
    help="Folder of class folders, flat folder, .npz, .npy, .h5, .parquet or .tar file, or a "
    "folder of Parquet or tar shards.",
)  # fmt: skip
@click.option(
    "-o", "output_file", required=True, type=click.Path(path_type=Path), metavar="OUT.h5",
    help="The archive to write.",
)  # fmt: skip
@click.option(
    "--labels", metavar="FILE|folder|predicted",
    help="CSV or JSON of image id and label; the source's own (default); or the model's answers.",
)  # fmt: skip
@click.option(
    "--classes", type=click.Path(path_type=Path), metavar="FILE",
    help="JSON from folder name to class index.",
)  # fmt: skip
@click.option(
    "--preprocess", metavar="SPEC",
    help="Spec file (ours, timm's, the hub's), or keras:caffe|tf|torch|raw.",
)  # fmt: skip
@input_size_option
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
    "--range", "pixel_range", type=click.Choice(PIXEL_RANGES), default=Options.pixel_range,
    show_default=True, help="What is done to filtered images that leave [0, 1].",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(["auto", *design_names()]), default=Options.method, show_default=True,
    help="Every coalition of every image, or a sample; auto is exact where the budget allows it.",
)  # fmt: skip
@limit_options
@click.option(
    "--about", type=click.Choice(["population", "images"]), default="population",
    show_default=True,
    help="What intervals are about: what the images were drawn from, or these images alone.",
)  # fmt: skip
@click.option(
    "--output", "output_name", metavar="NAME", help="The model's output, if there are several."
)
@click.option(
    "--output-kind", type=click.Choice(["auto", *OUTPUT_KINDS]), default=Options.output_kind,
    show_default=True, help="What that output is; auto looks at the graph and at a few images.",
)  # fmt: skip
@click.option("--limit", type=int, metavar="N", help="Take N images, balanced over the classes.")
@click.option(
    "--batch-size", callback=_parse_batch, default=str(Options.batch_size), show_default=True,
    metavar="N|auto",
    help="Filtered images a call; auto tries a few sizes for some seconds and takes the fastest.",
)  # fmt: skip
@device_options
@click.option("--threads", type=int, metavar="N", help="On the CPU; default: all usable cores.")
@click.option(
    "--seed", type=int, default=Options.seed, show_default=True, metavar="N",
    help="Of every random choice: what is sampled, --limit, the baselines noise and complement.",
)  # fmt: skip
@click.option(
    "--on-bad-image", type=click.Choice(["error", "skip"]), default=Options.on_bad_image,
    show_default=True, help="Fail at the end, or record it and go on.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace another run's output.")
@click.option(
    "--profile", type=click.Path(path_type=Path), metavar="FILE.json",
    help="Write down where the time went, there and in the archive.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result for machines.")
@limited
def decompose(model: Path, source: Path, output_file: Path, as_json: bool, **options: Any) -> None:
    """Decompose the predictive power of MODEL, an ONNX file, over the frequency bands of images.

    The same command again resumes a run that was interrupted.

    \b
    Example:
        iaside decompose models/fashion-cnn.onnx --images models/fashion-mnist-1000.npz -o cnn.h5
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    check_name(output_file)
    archive = iaside_onnx.decompose(
        model, source, output_file, progress=ConsoleProgress(), **options
    )
    print_result(archive, as_json=as_json)

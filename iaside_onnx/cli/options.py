"""Options that several commands share; imports nothing that is slow to import."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from iaside_onnx.cli.console import warn
from iaside_onnx.errors import OptionError
from iaside_onnx.outputs import check_target
from iaside_onnx.types import LAYOUTS, OUTPUT_KINDS

__all__ = [
    "check_name",
    "device_options",
    "given",
    "input_layout_option",
    "input_size_option",
    "json_option",
    "key_options",
    "limit_options",
    "moved_options",
    "out_option",
    "output_kind_option",
    "output_name_option",
    "overwrite_option",
    "preprocess_option",
    "renamed",
    "together",
    "workers_option",
]


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Combine options into one decorator that lists them in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def out_option(metavar: str, text: str, default: Path | None = None) -> Callable[[Any], Any]:
    """``-o`` or ``--out``, the file to write; required unless there is a default."""
    return click.option(
        "-o", "--out", type=click.Path(path_type=Path), metavar=metavar, help=text,
        **({"required": True} if default is None else {"default": default, "show_default": True}),
    )  # fmt: skip


def renamed(
    old: str, new: str, values: Mapping[str, str] | None = None, **settings: Any
) -> Callable[[Any], Any]:
    """Accept the old name of an option: hidden from the help, and with a warning.

    Goes below `limited`, so that a supervised command warns once.

    Args:
        old: the old name, such as ``--range``.
        new: the new name, such as ``--pixel-range``, whose parameter has the name that click
            derives from it.
        values: new value by old value, where values were renamed too.
        **settings: type and metavar, as for ``click.option``.
    """
    name = new.removeprefix("--").replace("-", "_")
    hidden = f"old_{name}"

    def decorate(command: Callable[..., Any]) -> Any:
        @functools.wraps(command)
        def run(*args: Any, **options: Any) -> Any:
            value = options.pop(hidden)
            if value is not None:
                source = click.get_current_context().get_parameter_source(name)
                if source == ParameterSource.COMMANDLINE:
                    raise click.UsageError(f"{old} is the old word for {new}: give one of them")
                if value in (values or {}):
                    value = (values or {})[value]
                    warn(f"{old} is now {new}, here {new} {value}; the old word still works")
                else:
                    warn(f"{old} is now {new}; the old word still works")
                options[name] = value
            return command(*args, **options)

        return click.option(old, hidden, hidden=True, allow_from_autoenv=False, **settings)(run)

    return decorate


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that have a value."""
    return {name: value for name, value in options.items() if value is not None}


def check_name(output: Path) -> None:
    """Refuse a file name that does not look like an archive's.

    Raises:
        OptionError: if it has another suffix, or names no file.
    """
    check_target(output)
    if output.suffix not in {".h5", ".hdf5", ".nc"}:
        raise OptionError(f"{output}: an archive is an HDF5 file; end its name in .h5")


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


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

# Which arrays or columns of a file hold images and labels.
key_options = together(
    click.option(
        "--images-key", metavar="NAME",
        help="Array of a .npz or HDF5 file, or Parquet column, that holds the images.",
    ),
    click.option("--labels-key", metavar="NAME", help="Likewise of the labels."),
)  # fmt: skip

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace a file that is there.")

preprocess_option = click.option("--preprocess", metavar="SPEC", help="As in `iaside decompose`.")

input_size_option = click.option(
    "--input-size", callback=_parse_size, metavar="C,H,W",
    help="Channels, height and width, where nothing else says them, as 3,224,224.",
)  # fmt: skip

input_layout_option = click.option(
    "--input-layout", type=click.Choice(LAYOUTS),
    help="Channels first or last, where the model leaves it open.",
)  # fmt: skip

output_kind_option = click.option(
    "--output-kind", type=click.Choice(["auto", *OUTPUT_KINDS]), default="auto",
    show_default=True, help="What that output is; auto looks at the graph and at a few images.",
)  # fmt: skip

output_name_option = click.option(
    "--output-name", metavar="NAME", help="The model's output, if there are several."
)

# Where the model runs, and how; for every command that runs one.
device_options = together(
    click.option(
        "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]",
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

# When a sampled run stops.
limit_options = together(
    click.option(
        "--budget", type=int, metavar="N",
        help="Evaluations in all; by default 262,144, or what a target takes.",
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


workers_option = click.option(
    "--workers", type=int, default=1, metavar="N",
    help="Processes that evaluate side by side, by default 1. They share the cores, which changes "
    "results by rounding: with equal --threads they are equal.",
)  # fmt: skip


def moved_options(model: str, images: str) -> Callable[[Any], Any]:
    """Where the inputs of an archive are, if they are not where they were.

    Args:
        model: help of ``--model``.
        images: help of ``--images``.
    """
    path = click.Path(path_type=Path)
    return together(
        click.option("--model", type=path, metavar="MODEL", help=model),
        click.option("--images", type=path, metavar="SRC", help=images),
        click.option(
            "--labels", type=path, metavar="FILE",
            help="Where the file of labels is, if it has moved.",
        ),
        click.option(
            "--classes", type=path, metavar="FILE",
            help="Where the file of classes is, if it has moved.",
        ),
        click.option(
            "--preprocess", metavar="SPEC",
            help="Where the preprocessing specification is, if it has moved.",
        ),
    )  # fmt: skip

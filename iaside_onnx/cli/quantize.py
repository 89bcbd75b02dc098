"""``iaside quantize``: a model in FP16 or INT8, compared with the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from iaside_onnx.cli.console import ConsoleProgress, printable, results, write_json
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.options import (
    input_layout_option,
    input_size_option,
    json_option,
    out_option,
    output_kind_option,
    output_name_option,
    overwrite_option,
    preprocess_option,
    renamed,
)
from iaside_onnx.export import Precision, Quantized
from iaside_onnx.export import quantize as run

__all__ = ["quantize"]


@click.command(short_help="Quantise a model to FP16 or INT8.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--images", type=click.Path(path_type=Path), metavar="SRC",
    help="As in `iaside decompose`; some calibrate, others are held out for the comparison.",
)  # fmt: skip
@out_option("MODEL.onnx", "The ONNX file to write.")
@click.option(
    "--to", type=click.Choice(get_args(Precision)), default="int8", show_default=True,
    help="Precision to quantise to.",
)  # fmt: skip
@click.option(
    "--calibration", type=int, default=128, show_default=True, metavar="N",
    help="Images that calibrate INT8, at most half of them.",
)  # fmt: skip
@preprocess_option
@input_size_option
@input_layout_option
@output_name_option
@output_kind_option
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of the choice of images."
)
@overwrite_option
@json_option
@limited
@renamed("--output", "--output-name")
def quantize(model: Path, images: Path | None, out: Path, as_json: bool, **options: Any) -> None:
    """Quantise MODEL, an ONNX file in float32, and print how often the two agree on other images.

    INT8 is static, with a scale for each channel of the weights; FP16 keeps float32 inputs and
    outputs. An older operator set is raised first. INT8 needs iaside-onnx[quantize].

    \b
    Example:
        iaside quantize model.onnx --images photos -o model-int8.onnx --to int8
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    made = run(model, images, out, progress=ConsoleProgress(), **options)
    if as_json:
        write_json(_as_json(made))
        return
    console = results()
    for name, value in _lines(made):
        console.print(f"{name:<12} {printable(value)}", soft_wrap=True)


def _lines(made: Quantized) -> list[tuple[str, str]]:
    facts, original = made.facts, made.original
    calibrated = f", calibrated on {made.calibration} images" if made.calibration else ""
    return [
        ("model", f"{facts.path}, {made.to}{calibrated}"),
        ("sha256", facts.sha256),
        ("made of", f"{original.path}, sha256 {original.sha256[:16]}"),
        *(("", note) for note in made.notes),
        ("bytes", f"{original.size:,} before, {facts.size:,} after"),
        ("prepared", made.preprocess_note),
        ("agreement", f"{made.agreement:.3f} of {made.held_out} held-out images in the same class"),
    ]


def _as_json(made: Quantized) -> dict[str, object]:
    return {
        "model": str(made.facts.path),
        "sha256": made.facts.sha256,
        "bytes": made.facts.size,
        "to": made.to,
        "original": str(made.original.path),
        "original_sha256": made.original.sha256,
        "original_bytes": made.original.size,
        "notes": list(made.notes),
        "calibration_images": made.calibration,
        "held_out_images": made.held_out,
        "agreement": made.agreement,
        "preprocess_note": made.preprocess_note,
    }

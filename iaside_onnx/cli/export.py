"""``iaside export``: models of other frameworks to ONNX."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from iaside_onnx import export as exports
from iaside_onnx.cli.console import ConsoleProgress, printable, results, write_json
from iaside_onnx.cli.options import (
    input_size_option,
    json_option,
    out_option,
    output_name_option,
    overwrite_option,
    together,
)
from iaside_onnx.export import Exported, Target
from iaside_onnx.images import KERAS_MODES
from iaside_onnx.types import LAYOUTS

__all__ = ["export"]

_common = together(
    out_option("MODEL.onnx", "The ONNX file to write."),
    click.option(
        "--preprocess", metavar="SPEC",
        help="How pixels become input, as in `iaside decompose`; kept in the ONNX file.",
    ),
    click.option(
        "--images", type=click.Path(path_type=Path), metavar="SRC",
        help="Compare the framework and ONNX Runtime on 16 of these; by default on bundled images "
        "with more and more noise.",
    ),
    click.option(
        "--tolerance", type=float, default=Target.__dataclass_fields__["tolerance"].default,
        show_default=True, metavar="X",
        help="Largest difference from the framework's outputs that is accepted.",
    ),
    click.option(
        "--opset", type=int, default=Target.__dataclass_fields__["opset"].default,
        show_default=True, metavar="N", help="Version of the ONNX operator set.",
    ),
    overwrite_option,
    json_option,
)  # fmt: skip

_layout_option = click.option(
    "--layout", type=click.Choice(LAYOUTS), default="NHWC", show_default=True,
    help="Layout of the input of the model.",
)  # fmt: skip

_weights_option = click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE",
    help="Loaded into the model; by default it keeps its own weights.",
)  # fmt: skip


@click.group(short_help="Bring a model of another framework to ONNX.")
def export() -> None:
    """Export a model to ONNX, and compare its outputs with the framework's on 16 images.

    Code is named as MODULE:FACTORY, a class or a function that returns the model; the current
    folder and PYTHONPATH are searched. Nothing is unpickled. The ONNX file has a dynamic batch, all
    weights, and an input named image; its metadata hold the origin of the model and its
    preprocessing.
    """


def _made(run: Callable[..., Exported], as_json: bool, *arguments: Any, **options: Any) -> None:
    # The user's code may print, and stdout is for the result.
    with contextlib.redirect_stdout(sys.stderr):
        exported = run(*arguments, progress=ConsoleProgress(), **options)
    if as_json:
        write_json(_as_json(exported))
    else:
        _print(exported)


@export.command("torch", short_help="PyTorch: a class in code, and a file of weights.")
@click.argument("source", metavar="MODULE:FACTORY")
@_weights_option
@input_size_option
@_common
def torch_command(source: str, out: Path, as_json: bool, **options: Any) -> None:
    """Export a PyTorch model: a torch.nn.Module class, or a function that returns one.

    Weights are safetensors, or a state_dict that torch.save wrote. Needs iaside-onnx[torch].

    \b
    Example:
        iaside export torch mymodels:resnet --weights best.pt --input-size 3,224,224 -o best.onnx
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    _made(exports.export_torch, as_json, source, out, **options)


@export.command("timm", short_help="timm: a name, and a file of weights.")
@click.argument("name")
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE", required=True,
    help="safetensors, or a state_dict that torch.save wrote.",
)  # fmt: skip
@_common
def timm_command(name: str, out: Path, as_json: bool, **options: Any) -> None:
    """Export a model of timm, with the preprocessing of its own configuration.

    The number of classes is that of the weights. Needs iaside-onnx[torch].

    \b
    Example:
        iaside export timm resnet50.a1_in1k --weights model.safetensors -o resnet50.onnx
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    _made(exports.export_timm, as_json, name, out, **options)


@export.command("keras", short_help="Keras: a .keras or .h5 file, or code.")
@click.argument("source", metavar="FILE|MODULE:FACTORY")
@click.option(
    "--mode", type=click.Choice(list(KERAS_MODES)),
    help="How images are normalised; by default derived from the name of the architecture.",
)  # fmt: skip
@_weights_option
@input_size_option
@_common
def keras_command(source: str, out: Path, as_json: bool, **options: Any) -> None:
    """Export a Keras model. Needs iaside-onnx[keras].

    \b
    Example:
        iaside export keras resnet50.keras --mode caffe -o resnet50.onnx
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    _made(exports.export_keras, as_json, source, out, **options)


@export.command("saved-model", short_help="TensorFlow: the folder of a SavedModel.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--signature", default="serving_default", show_default=True, metavar="NAME")
@output_name_option
@input_size_option
@_common
def saved_model_command(folder: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Export a SavedModel of TensorFlow, by one of its signatures. Needs iaside-onnx[keras].

    \b
    Example:
        iaside export saved-model exported/1 --preprocess keras:tf -o model.onnx
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    _made(exports.export_saved_model, as_json, folder, out, **options)


@export.command("tflite", short_help="TensorFlow Lite: a .tflite file, float or integer.")
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE")
@input_size_option
@_common
def tflite_command(source: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Export a TensorFlow Lite model; integer ones keep their quantisation.

    Needs iaside-onnx[keras].

    \b
    Example:
        iaside export tflite mobilenet.tflite --preprocess keras:tf -o mobilenet.onnx
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    _made(exports.export_tflite, as_json, source, out, **options)


@export.command("jax", short_help="JAX: a function, a Flax or an Equinox module in code.")
@click.argument("source", metavar="MODULE:FACTORY")
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE",
    help="safetensors; the factory is then called with a mapping of names to arrays.",
)  # fmt: skip
@_layout_option
@input_size_option
@_common
def jax_command(source: str, out: Path, as_json: bool, **options: Any) -> None:
    """Export a JAX function of a batch of images, or a factory's. Needs iaside-onnx[jax].

    \b
    Example:
        iaside export jax mymodels:cnn --weights cnn.safetensors --input-size 1,28,28 -o cnn.onnx
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    _made(exports.export_jax, as_json, source, out, **options)


@export.command("sklearn", short_help="scikit-learn: a fitted classifier or pipeline in code.")
@click.argument("source", metavar="MODULE:FACTORY")
@_layout_option
@input_size_option
@_common
def sklearn_command(source: str, out: Path, as_json: bool, **options: Any) -> None:
    """Export a fitted classifier of flat rows as one of images. Needs iaside-onnx[sklearn].

    \b
    Example:
        iaside export sklearn mymodels:digits --input-size 1,8,8 -o digits.onnx
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    _made(exports.export_sklearn, as_json, source, out, **options)


def _print(exported: Exported) -> None:
    facts, signature = exported.facts, exported.signature
    made = ", ".join(f"{name} {version}" for name, version in exported.versions.items())
    spec = exported.preprocess.to_dict() if exported.preprocess else {}
    lines = [
        ("model", f"{facts.path}, {facts.size:,} bytes, opset {facts.opset}"),
        ("sha256", facts.sha256),
        ("made of", f"{exported.source}, by {made}"),
        *(("", note) for note in exported.notes),
        ("input", f"{signature.input_name}: {signature.takes}"),
        ("output", f"{signature.output_name}: {signature.classes} classes"),
        ("prepared", exported.preprocess_note),
        *([("", ", ".join(f"{key} {value}" for key, value in spec.items()))] if spec else []),
        (
            "checked",
            f"{exported.images} images, largest difference from {exported.framework} "
            f"{exported.difference:.1e}",
        ),
    ]
    console = results()
    for name, value in lines:
        console.print(f"{name:<12} {printable(value)}", soft_wrap=True)


def _as_json(exported: Exported) -> dict[str, object]:
    facts, signature = exported.facts, exported.signature
    return {
        "model": str(facts.path),
        "sha256": facts.sha256,
        "bytes": facts.size,
        "opset": facts.opset,
        "framework": exported.framework,
        "versions": exported.versions,
        "source": exported.source,
        "notes": list(exported.notes),
        "input": signature.input_name,
        "layout": signature.layout,
        "channels": signature.channels,
        "height": signature.height,
        "width": signature.width,
        "output": signature.output_name,
        "classes": signature.classes,
        "output_kind": exported.output_kind,
        "preprocess": exported.preprocess.to_dict() if exported.preprocess else None,
        "preprocess_note": exported.preprocess_note,
        "checked_images": exported.images,
        "largest_difference": exported.difference,
    }

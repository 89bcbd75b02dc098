"""JAX functions, Flax and Equinox modules to ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ExportError
from iaside_onnx.export.code import call_factory, failure, load_code, required_arguments, sha256_of
from iaside_onnx.export.draft import Draft
from iaside_onnx.export.extras import quiet, require, version_of
from iaside_onnx.export.finishing import Exported, finish
from iaside_onnx.export.graphs import INPUT_NAME
from iaside_onnx.export.target import ExportOptions, Target, size_of_images
from iaside_onnx.runtime import image_shape
from iaside_onnx.types import Layout

__all__ = ["export_jax"]

EXTRA = "jax"


def export_jax(
    source: str,
    output: str | Path,
    *,
    input_size: tuple[int, int, int] | None = None,
    layout: Layout = "NHWC",
    weights: str | Path | None = None,
    **options: Unpack[ExportOptions],
) -> Exported:
    """Export a JAX function to ONNX, and compare the two.

    Args:
        source: ``package.module:factory``: a function without arguments that returns a function of
            a batch of images (such as a Flax module in evaluation mode); or that function itself.
        output: the ONNX file to write.
        input_size: channels, height and width; None if the preprocessing has them.
        layout: of the function's input.
        weights: a safetensors file; the factory is then called with a mapping of names to arrays.
        **options: see `iaside_onnx.export.Target`.

    Raises:
        IasideError: the model cannot be exported, or the two differ; no file is created.
    """
    target = Target.of(output, options)
    target.progress.say(f"loading {source}")
    jax = require(EXTRA, "jax", "jax2onnx")
    found, hashes = load_code(source)
    arguments: list[Any] = []
    if weights is not None:
        path = Path(weights)
        arguments = [_read_weights(path)]
        hashes = {**hashes, path.name: sha256_of(path)}
    function = _function(found, arguments, source)
    preprocess, note = target.preprocessing()
    size = size_of_images(input_size, preprocess)
    shape = image_shape(size, layout)
    compiled = jax.jit(function)

    def reference(inputs: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(compiled(inputs))

    _check_call(reference, shape, source)
    target.progress.say(f"converting to ONNX, opset {target.opset}")
    draft = Draft(
        model=_converted(function, shape, target.opset, source),
        reference=reference,
        framework="JAX",
        versions={name: version_of(name) for name in ("jax", "flax", "jax2onnx")},
        source=source,
        sha256=hashes,
        layout=layout,
        size=size,
        preprocess=preprocess,
        preprocess_note=note,
    )  # fmt: skip
    return finish(draft, target)


def _read_weights(path: Path) -> dict[str, Any]:
    if path.suffix != ".safetensors":
        raise ExportError(
            f"{path} is not a safetensors file, the only kind that is read, as a pickle runs code "
            "from its author; save the weights with safetensors.numpy.save_file"
        )
    # A file that cannot be read is reported here, as the library's error would not name it.
    sha256_of(path)
    safetensors = require(EXTRA, "safetensors.numpy")
    try:
        arrays: dict[str, Any] = safetensors.load_file(path)
    except Exception as error:
        raise failure(f"{path} is not a safetensors file, or a damaged one", error) from error
    return arrays


def _function(found: Any, arguments: list[Any], source: str) -> Callable[[Any], Any]:
    """The function of images that was named, or that the factory returns."""
    if not callable(found):
        raise ExportError(
            f"{source} is of type {type(found).__name__}, where a function was expected"
        )
    if not isinstance(found, type) and _needs(found) > len(arguments):
        return _of_one_input(found, source)
    made = call_factory(found, source, *arguments)
    if not callable(made):
        raise ExportError(
            f"{source} returns a {type(made).__name__}, where a function of a batch of images was "
            "expected"
        )
    return _of_one_input(made, source)


def _of_one_input(function: Any, source: str) -> Callable[[Any], Any]:
    if _needs(function) != 1:
        raise ExportError(
            f"{source}: the function takes {_needs(function)} inputs, where one batch of images "
            "was expected; fix the others with functools.partial"
        )
    if hasattr(function, "eval") and callable(function.eval):
        # Modules of Flax (nnx) may be in training mode.
        function.eval()

    def checked(images: Any) -> Any:
        # jax.jit needs a hashable function, and bound modules of Flax (linen) are not hashable.
        return function(images)

    return checked


def _needs(function: Callable[..., Any]) -> int:
    """Number of arguments that a call must have; 1 where Python cannot tell."""
    try:
        return len(required_arguments(function))
    except (TypeError, ValueError):
        return 1


def _check_call(
    run: Callable[[NDArray[np.float32]], NDArray[Any]], shape: tuple[int, ...], source: str
) -> None:
    try:
        run(np.zeros((2, *shape), dtype=np.float32))
    except Exception as error:
        raise failure(
            f"{source}: it fails on a batch of shape {(2, *shape)}, in the order of --layout",
            error,
        ) from error


def _converted(
    function: Callable[[Any], Any], shape: tuple[int, ...], opset: int, source: str
) -> Any:
    jax2onnx = require(EXTRA, "jax2onnx")
    try:
        with quiet():
            return jax2onnx.to_onnx(
                function,
                [("B", *shape)],
                opset=opset,
                return_mode="proto",
                input_names=[INPUT_NAME],
                output_names=["scores"],
            )
    except Exception as error:
        raise failure(f"{source}: it cannot be converted to ONNX", error) from error

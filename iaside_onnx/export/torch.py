"""PyTorch to ONNX: a class or function in code, and a file of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ExportError, IasideError
from iaside_onnx.export.code import (
    Hashes,
    call_factory,
    failure,
    load_code,
    required_arguments,
    sha256_of,
)
from iaside_onnx.export.draft import Draft
from iaside_onnx.export.extras import quiet, require, version_of
from iaside_onnx.export.finishing import Exported, finish
from iaside_onnx.export.target import ExportOptions, Target, size_of_images
from iaside_onnx.export.weights import load_into, read_weights, without_prefixes
from iaside_onnx.images import Preprocess

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

__all__ = ["convert", "export_torch", "timm_preprocess"]


def export_torch(
    source: str,
    output: str | Path,
    *,
    weights: str | Path | None = None,
    input_size: tuple[int, int, int] | None = None,
    **options: Unpack[ExportOptions],
) -> Exported:
    """Export a PyTorch model to ONNX, and compare the two.

    Args:
        source: ``package.module:factory``: a class, or a function that returns a
            ``torch.nn.Module``, called without arguments; or such a module itself.
        output: the ONNX file to write.
        weights: a safetensors file, or a ``state_dict`` from ``torch.save``; None if the code loads
            them.
        input_size: channels, height and width; None if the preprocessing has them.
        **options: see `iaside_onnx.export.Target`.

    Raises:
        IasideError: the model cannot be exported, or the two differ; no file is created.
    """
    target = Target.of(output, options)
    target.progress.say(f"loading {source}")
    require("torch", "torch", "onnxscript")
    found, hashes = load_code(source)
    model = _module(found, source)
    notes = ["weights: those of the code, as there is no --weights"]
    if weights is not None:
        path = Path(weights)
        state, notes = read_weights(path)
        state, dropped = without_prefixes(state, model)
        load_into(model, state, path)
        notes += dropped
        hashes = {**hashes, path.name: sha256_of(path)}
    spec, note = _preprocess(model, target)
    size = size_of_images(input_size, spec)
    target.progress.say(f"converting to ONNX, opset {target.opset}")
    draft = make_draft(model, source, hashes, size, spec, note, notes, target.opset)
    return finish(draft, target)


def make_draft(
    model: torch.nn.Module,
    source: str,
    hashes: Hashes,
    size: tuple[int, int, int],
    preprocess: Preprocess | None,
    preprocess_note: str,
    notes: Sequence[str],
    opset: int,
    versions: Mapping[str, str] | None = None,
) -> Draft:
    """Convert a module in evaluation mode.

    Raises:
        ExportError: it cannot be converted, or does not give scores of images.
    """
    import torch

    if isinstance(model, torch.jit.ScriptModule):
        raise ExportError(
            f"{source} returns a TorchScript program; give the Python class that it was made of"
        )
    try:
        model = model.eval().cpu().float()
    except NotImplementedError as error:
        raise ExportError(
            f"{source}: some of its weights are on the meta device, without values; give --weights "
            "with all of them"
        ) from error

    def reference(inputs: NDArray[np.float32]) -> NDArray[Any]:
        with torch.inference_mode():
            return np.asarray(_scores(model(torch.from_numpy(inputs)), source).numpy())

    _check_call(model, size, source, reference)
    return Draft(
        model=convert(model, size, opset, source),
        reference=reference,
        framework="PyTorch",
        versions={"torch": torch.__version__, "onnxscript": version_of("onnxscript")}
        | dict(versions or {}),
        source=source,
        sha256=hashes,
        layout="NCHW",
        size=size,
        preprocess=preprocess,
        preprocess_note=preprocess_note,
        notes=notes,
    )


def convert(
    model: torch.nn.Module, size: tuple[int, int, int], opset: int, source: str
) -> ModelProto:
    """The graph of a module in evaluation mode: dynamic batch, weights inside, one output.

    Raises:
        ExportError: PyTorch cannot export it.
    """
    import torch

    class Scores(torch.nn.Module):  # type: ignore[misc]  # untyped base
        """The model with one tensor as its output."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, image: Any) -> Any:
            return _scores(self.model(image), source)

    # Two images, because the exporter makes a batch of one a constant.
    example = torch.zeros(2, *size)
    try:
        with quiet():
            program = torch.onnx.export(
                Scores().eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=["image"],
                output_names=["scores"],
                opset_version=opset,
                verbose=False,
            )
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = cause if isinstance(cause, Exception) else error
        raise failure(f"{source}: PyTorch cannot export it to ONNX", reason) from error
    proto: ModelProto = program.model_proto
    return proto


def timm_preprocess(config: Mapping[str, Any]) -> Preprocess:
    """The evaluation transform of a data configuration that timm has resolved."""
    keys = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
    return Preprocess.from_dict({key: config[key] for key in keys}, "timm's configuration")


def _module(found: Any, source: str) -> torch.nn.Module:
    import torch

    if not isinstance(found, torch.nn.Module):
        if not callable(found):
            raise ExportError(
                f"{source} is of type {type(found).__name__}; a class, a function that returns a "
                "torch.nn.Module, or such a module was expected"
            )
        found = call_factory(found, source)
    if not isinstance(found, torch.nn.Module):
        raise ExportError(
            f"{source} returns a {type(found).__name__}, where a torch.nn.Module was expected"
        )
    return found


def _preprocess(model: torch.nn.Module, target: Target) -> tuple[Preprocess | None, str]:
    given, note = target.preprocessing()
    if given is None and isinstance(getattr(model, "pretrained_cfg", None), Mapping):
        timm = require("torch", "timm.data")
        return timm_preprocess(timm.resolve_model_data_config(model)), "the model's own, by timm"
    return given, note


def _scores(found: Any, source: str) -> Any:
    """The one tensor of scores in the output of a model."""
    import torch

    found = getattr(found, "logits", found)
    if isinstance(found, tuple | list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, torch.Tensor):
        kind = type(found).__name__
        count = f" of {len(found)}" if isinstance(found, tuple | list | dict) else ""
        raise ExportError(
            f"{source}: the model returns a {kind}{count}, where one tensor of scores was "
            "expected; wrap it so that it returns the scores alone"
        )
    return found


def _check_call(model: torch.nn.Module, size: tuple[int, int, int], source: str, run: Any) -> None:
    """Try the model on one batch, as its own errors are clearer than those of the exporter."""
    needed = required_arguments(model.forward)
    if len(needed) > 1:
        raise ExportError(
            f"{source}: the model takes {len(needed)} inputs ({', '.join(needed)}), where one "
            "batch of images was expected; wrap it so that the others are fixed"
        )
    try:
        run(np.zeros((2, *size), dtype=np.float32))
    except IasideError:
        raise
    except Exception as error:
        channels, height, width = size
        raise failure(
            f"{source}: the model fails on images of {channels} x {height} x {width}", error
        ) from error

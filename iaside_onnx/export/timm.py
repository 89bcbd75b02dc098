"""timm models to ONNX, with the preprocessing of their own configuration."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from iaside_onnx.errors import ExportError
from iaside_onnx.export.code import failure, sha256_of
from iaside_onnx.export.extras import quiet, require
from iaside_onnx.export.finishing import Exported, finish
from iaside_onnx.export.target import ExportOptions, Target
from iaside_onnx.export.torch import make_draft, timm_preprocess
from iaside_onnx.export.weights import load_into, read_weights, without_prefixes

__all__ = ["export_timm"]


def export_timm(
    name: str, output: str | Path, *, weights: str | Path, **options: Unpack[ExportOptions]
) -> Exported:
    """Export a timm model to ONNX, and compare the two.

    The numbers of classes and input channels come from the weights. Mean, standard deviation, size,
    interpolation and crop come from the model's configuration, unless a specification is given.

    Args:
        name: as in ``timm.create_model``, such as ``resnet50.a1_in1k``.
        output: the ONNX file to write.
        weights: a safetensors file, or a ``state_dict`` from ``torch.save``.
        **options: see `iaside_onnx.export.Target`.

    Raises:
        IasideError: the model cannot be exported, or the two differ; no file is created.
    """
    target = Target.of(output, options)
    target.progress.say(f"loading {name}")
    timm = require("torch", "timm", "torch", "onnxscript")
    path = Path(weights)
    _check_name(timm, name)
    state, notes = read_weights(path)
    try:
        with quiet():
            model = timm.create_model(name, pretrained=False)
            state, dropped = without_prefixes(state, model)
            changed = _differs(model, state)
            if changed:
                model = timm.create_model(name, pretrained=False, **changed)
    except Exception as error:
        raise failure(f"timm cannot make {name!r}", error) from error
    notes += dropped
    notes += [f"timm: {word} is {value}, as in the weights" for word, value in changed.items()]
    load_into(model, state, path)
    spec, note = target.preprocessing()
    with quiet():
        config = timm.data.resolve_model_data_config(model)
    size = (changed.get("in_chans", config["input_size"][0]), *config["input_size"][1:])
    if spec is None:
        if size != tuple(config["input_size"]):
            raise ExportError(
                f"{path} takes {size[0]} channels, and timm's configuration of {name} is for "
                f"{config['input_size'][0]}; give --preprocess"
            )
        spec, note = timm_preprocess(config), "the model's own, by timm"
    target.progress.say(f"converting to ONNX, opset {target.opset}")
    draft = make_draft(
        model, name, {path.name: sha256_of(path)}, size, spec,
        note, notes, target.opset,
        {"timm": timm.__version__},
    )  # fmt: skip
    return finish(draft, target)


def _check_name(timm: Any, name: str) -> None:
    if timm.is_model(name):
        return
    close = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=1)
    hint = f"did you mean {close[0]!r}" if close else "see timm.list_models()"
    raise ExportError(f"timm {timm.__version__} has no model {name!r}; {hint}")


def _differs(model: Any, state: Mapping[str, Any]) -> dict[str, int]:
    """Numbers of classes and channels in the weights that differ from the architecture's."""
    changed = {}
    own = model.state_dict()
    for key, word, axis in (("classifier", "num_classes", 0), ("first_conv", "in_chans", 1)):
        layer = f"{model.pretrained_cfg.get(key)}.weight"
        if layer in state and layer in own and state[layer].shape[axis] != own[layer].shape[axis]:
            changed[word] = int(state[layer].shape[axis])
    return changed

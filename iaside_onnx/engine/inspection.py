"""What a model takes and gives, and what would be done with it, without any images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from iaside_onnx.engine.options import Options
from iaside_onnx.engine.preprocessing import (
    choose_preprocess,
    complete_preprocess,
    load_model,
    make_predictor,
)
from iaside_onnx.errors import ModelError, PreprocessError
from iaside_onnx.images import Preprocess
from iaside_onnx.runtime import (
    Classifier,
    GraphFacts,
    SessionWords,
    Signature,
    available_providers,
    read_graph,
    resolve_output_kind,
    usable_outputs,
)

__all__ = ["Inspection", "inspect_model"]

_TRIALS = 4


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `inspect_model` found.

    Attributes:
        facts: what the file says of itself.
        signature: what the model takes and gives.
        preprocess: the spec that would be used; None if the image size is not known.
        preprocess_note: where the spec comes from, or why there is none.
        output_kind: what the outputs are; None if that could not be tried.
        output_note: how that was found.
        classes: number of classes; None if that could not be tried and the graph does not say.
        provider: execution provider that ran the model.
        providers: all that the installed runtime has.
    """

    facts: GraphFacts
    signature: Signature
    preprocess: Preprocess | None
    preprocess_note: str
    output_kind: str | None
    output_note: str
    classes: int | None
    provider: str
    providers: list[str]


def inspect_model(
    model: str | Path,
    *,
    preprocess: str | Path | Preprocess | None = None,
    input_size: tuple[int, int, int] | None = None,
    output_name: str | None = None,
    device: str = "auto",
    provider: str | None = None,
    **session_options: Unpack[SessionWords],
) -> Inspection:
    """Look at a model as `iaside_onnx.decompose` would, and try it on images of noise.

    Args:
        model: an ONNX file.
        preprocess: as in `iaside_onnx.Options`.
        input_size: as in `iaside_onnx.Options`.
        output_name: as in `iaside_onnx.Options`.
        device: as in `iaside_onnx.Options`.
        provider: as in `iaside_onnx.Options`.
        **session_options: ``provider_options``, ``tf32``, ``cuda_graph`` and ``allow_cpu_nodes``,
            as in `iaside_onnx.Options`.

    Raises:
        IasideError: if the model cannot be audited, and why.
    """
    options = Options(
        preprocess=preprocess, input_size=input_size, output_name=output_name, device=device,
        provider=provider, **session_options,
    )  # fmt: skip
    facts = read_graph(Path(model))
    found, note = choose_preprocess(facts, options)
    classifier = load_model(facts, found, options)
    signature = classifier.signature
    spec: Preprocess | None = None
    kind: str | None = None
    classes = signature.classes
    try:
        spec = complete_preprocess(found, signature, input_size, None)
    except PreprocessError as error:
        if found is not None and found.input_size is not None:
            raise
        note = f"{note}; {error}"
    why = "not tried, as the image size is not known"
    if spec is not None:
        kind, why, classes = _try(classifier, spec)
    return Inspection(
        facts, signature, spec, note, kind, why, classes,
        classifier.execution.provider, available_providers(),
    )  # fmt: skip


def _try(classifier: Classifier, spec: Preprocess) -> tuple[str | None, str, int]:
    predictor = make_predictor(classifier, spec, batch_size=_TRIALS)
    noise = np.random.default_rng(0).random((_TRIALS, *spec.size()), dtype=np.float32)
    where = str(classifier.facts.path)
    outputs = usable_outputs(predictor.outputs(noise), where)
    try:
        kind, why = resolve_output_kind(classifier.signature.output_hint, outputs, where)
    except ModelError as error:
        return None, str(error), outputs.shape[1]
    return kind, why, outputs.shape[1]

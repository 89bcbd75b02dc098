"""What a model takes and gives, and what would be done with it, without any images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from iaside_onnx.errors import ModelError, PreprocessError
from iaside_onnx.images import Preprocess
from iaside_onnx.model.opening import FoundModel, make_predictor
from iaside_onnx.model.outputs import AutoOutputKind, check_choices, examine_outputs
from iaside_onnx.model.preprocessing import PreprocessLike
from iaside_onnx.runtime import (
    Classifier,
    GraphFacts,
    SessionWords,
    Signature,
    available_providers,
    usable_outputs,
)
from iaside_onnx.types import Layout

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
        notes: what of inputs and outputs is read in an unusual way.
        warning: what seems to be wrong with the spec; None if nothing.
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
    notes: tuple[str, ...]
    warning: str | None
    classes: int | None
    provider: str
    providers: list[str]


def inspect_model(
    model: str | Path,
    *,
    preprocess: PreprocessLike | None = None,
    input_size: tuple[int, int, int] | None = None,
    input_layout: Layout | None = None,
    output_name: str | None = None,
    output_kind: AutoOutputKind = "auto",
    device: str = "auto",
    provider: str | None = None,
    **session_options: Unpack[SessionWords],
) -> Inspection:
    """Look at a model as `iaside_onnx.decompose` would, and try it on images of noise.

    Args:
        model: an ONNX file.
        preprocess: as in `iaside_onnx.Options`.
        input_size: as in `iaside_onnx.Options`.
        input_layout: as in `iaside_onnx.Options`.
        output_name: as in `iaside_onnx.Options`.
        output_kind: as in `iaside_onnx.Options`.
        device: as in `iaside_onnx.Options`.
        provider: as in `iaside_onnx.Options`.
        **session_options: ``provider_options``, ``tf32``, ``cuda_graph`` and ``allow_cpu_nodes``,
            as in `iaside_onnx.Options`.

    Raises:
        IasideError: if the model cannot be audited, and why.
    """
    found = FoundModel.read(model, preprocess)
    check_choices(input_layout=input_layout, output_kind=output_kind)
    classifier = found.load(
        output_name, input_size, input_layout=input_layout, output_kind=output_kind,
        device=device, provider=provider, **session_options,
    )  # fmt: skip
    signature, note = classifier.signature, found.note
    spec: Preprocess | None = None
    kind: str | None = None
    classes = signature.classes
    try:
        spec = found.complete(classifier, input_size)
    except PreprocessError as error:
        if found.preprocess is not None and found.preprocess.input_size is not None:
            raise
        note = f"{note}; {error}"
    why = "not tried, as the image size is not known"
    if spec is not None:
        kind, why, classes = _try(classifier, spec, output_kind)
    return Inspection(
        found.facts, signature, spec, note, kind, why, tuple(classifier.notes),
        None if spec is None else found.warning(spec), classes,
        classifier.execution.provider, available_providers(),
    )  # fmt: skip


def _try(
    classifier: Classifier, spec: Preprocess, asked: AutoOutputKind
) -> tuple[str | None, str, int]:
    noise = np.random.default_rng(0).random((_TRIALS, *spec.size()), dtype=np.float32)
    outputs = make_predictor(classifier, spec, _TRIALS).outputs(noise)
    where = str(classifier.facts.path)
    try:
        return examine_outputs(outputs, classifier.signature.output_hint, where, asked)
    except ModelError as error:
        usable_outputs(outputs, where)
        return None, str(error), outputs.shape[1]

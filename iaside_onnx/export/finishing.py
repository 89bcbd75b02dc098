"""The last step of every export: name, check against the framework, write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import onnx
from numpy.typing import NDArray

from iaside_onnx.export import graphs
from iaside_onnx.export.checking import (
    check_difference,
    check_graph,
    compare,
    kind_of_output,
    reference_outputs,
)
from iaside_onnx.export.draft import Draft
from iaside_onnx.export.inputs import bundled_pixels
from iaside_onnx.export.target import Target
from iaside_onnx.export.writing import check_preprocess_file, temporary_model, write_model
from iaside_onnx.images import Preprocess, open_images
from iaside_onnx.model import METADATA_KEY, input_transform
from iaside_onnx.runtime import GraphFacts, Signature, read_graph
from iaside_onnx.version import __version__

__all__ = ["EXPORT_KEY", "Exported", "finish"]

EXPORT_KEY = "iaside.export"
"""Key of the ONNX metadata under which a model carries where it came from, as JSON."""

IMAGES = 16
"""Number of images that the framework and ONNX Runtime are compared on."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished export.

    Attributes:
        facts: what the file says of itself.
        signature: the model's input and output.
        output_kind: what the outputs are.
        framework: the framework that the model came from.
        versions: versions of the framework and of its converter, by package.
        source: the model as the user named it.
        preprocess: how pixels become input; None if it is not known.
        preprocess_note: where the preprocessing comes from.
        difference: largest difference of an output from the framework's own.
        images: number of images that the difference was measured on.
        notes: decisions made during the export, for the user.
    """

    facts: GraphFacts
    signature: Signature
    output_kind: str
    framework: str
    versions: dict[str, str]
    source: str
    preprocess: Preprocess | None
    preprocess_note: str
    difference: float
    images: int
    notes: Sequence[str] = field(default=())


def finish(draft: Draft, target: Target) -> Exported:
    """Name input and output, compare with the framework on images, and write the file.

    Raises:
        IasideError: the model cannot be audited, or its outputs are not the framework's; the
            output file is not created, and an existing one is left as it is.
    """
    model = draft.model
    spec = None if draft.preprocess is None else draft.preprocess.resolved(draft.size)
    check_preprocess_file(target.output, spec)
    if draft.output is not None:
        graphs.keep_output(model, draft.output)
    check_graph(model, target)
    graphs.remove_debug_info(model)
    used = spec or Preprocess(input_size=draft.size)
    pixels = _pixels(used, target)
    target.progress.say(f"comparing {draft.framework} and ONNX Runtime on {len(pixels)} images")
    inputs = input_transform(used, draft.layout, np.dtype(np.float32))(pixels)
    expected, notes = reference_outputs(draft, inputs, target.tolerance)
    kind = kind_of_output(model, expected, target.output)
    if draft.step and kind == "probabilities":
        notes.append(
            f"probabilities come in steps of {draft.step:.1e}, so many will be exactly 0: export "
            "the float model, or logits, if possible"
        )
    graphs.name_input_and_output(model, kind.replace("-", "_"))
    with temporary_model(target.output) as temporary:
        write_model(model, temporary, target.output)
        difference, signature = compare(read_graph(temporary), draft, pixels, used, expected)
        check_difference(difference, draft, expected, target)
        target.progress.say(f"writing {target.output}")
        onnx.helper.set_model_props(model, _metadata(draft, spec, difference, len(pixels)))
        write_model(model, temporary, target.output)
    return Exported(
        read_graph(target.output), signature, kind, draft.framework, draft.versions, draft.source,
        spec, draft.preprocess_note, difference, len(pixels), [*draft.notes, *notes],
    )  # fmt: skip


def _pixels(spec: Preprocess, target: Target) -> NDArray[np.float32]:
    """Images to compare on, ``(n, channels, height, width)`` in [0, 1]."""
    if target.images is None:
        return bundled_pixels(spec, IMAGES)
    source = open_images(target.images)
    spread = np.linspace(0, len(source) - 1, min(len(source), IMAGES))
    return np.stack([source.read(int(i), spec).pixels for i in spread.round()])


def _metadata(
    draft: Draft, spec: Preprocess | None, difference: float, images: int
) -> dict[str, str]:
    provenance = {
        "framework": draft.framework,
        "versions": draft.versions,
        "source": draft.source,
        "source_sha256": draft.sha256,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "checked_images": images,
        "largest_difference": difference,
        "tool_version": __version__,
        **({"classes": list(draft.classes)} if draft.classes else {}),
    }
    metadata = {EXPORT_KEY: json.dumps(provenance)}
    if spec is not None:
        metadata[METADATA_KEY] = json.dumps(spec.to_dict())
    return metadata

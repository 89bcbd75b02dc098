"""Everything that is decided before the first coalition is evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.engine.baselines import Baselines, mean_color, partners
from iaside_onnx.engine.options import Options
from iaside_onnx.engine.preprocessing import (
    choose_preprocess,
    complete_preprocess,
    make_evaluator,
)
from iaside_onnx.engine.probing import probe
from iaside_onnx.engine.progress import Progress
from iaside_onnx.engine.selection import Selection, select_images
from iaside_onnx.game import all_coalitions
from iaside_onnx.images import Preprocess
from iaside_onnx.runtime import Classifier, WorthEvaluator, load_classifier, read_graph
from iaside_onnx.spectrum import band_index
from iaside_onnx.types import Coalitions
from iaside_onnx.version import __version__

__all__ = ["Plan", "make_plan"]

_SHARD_EVALUATIONS = 4096
_SHARD_IMAGES = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, ready to start.

    Attributes:
        options: as given.
        classifier: the loaded model.
        evaluator: of the worth of coalitions.
        selection: the images and their labels.
        spec: how they are prepared, with all sizes filled in.
        classes: number of classes of the model.
        coalitions: those to evaluate, in order.
        baselines: what stands in for absent bands.
        identity: all that the results depend on, as JSON values.
        notes: what was decided, in words.
    """

    options: Options
    classifier: Classifier
    evaluator: WorthEvaluator
    selection: Selection
    spec: Preprocess
    classes: int
    coalitions: Coalitions
    baselines: Baselines
    identity: Mapping[str, object]
    notes: tuple[str, ...]

    @property
    def shards(self) -> list[NDArray[np.int64]]:
        """Rows of the selection that make each shard: about 4,096 evaluations."""
        size = int(np.clip(_SHARD_EVALUATIONS // self.coalitions.size, 1, _SHARD_IMAGES))
        rows = np.arange(self.selection.positions.size)
        return [rows[i : i + size] for i in range(0, rows.size, size)]


def make_plan(model: str | Path, images: Any, options: Options, progress: Progress) -> Plan:
    """Load, look, choose, and check all that can be checked before the work starts.

    Args:
        model: the ONNX file.
        images: a path, or an array as `iaside_onnx.images.open_images` takes it.
        options: what to do.
        progress: is told what was decided.

    Raises:
        IasideError: if something cannot work; nothing has been written.
    """
    coalitions = all_coalitions(options.bands)
    facts = read_graph(Path(model))
    found, chosen = choose_preprocess(facts, options)
    selection = select_images(images, options)
    classifier = load_classifier(
        facts,
        output=options.output_name,
        input_size=options.input_size or (found.input_size if found else None),
        device=options.device,
        provider=options.provider,
        threads=options.threads,
    )
    signature = classifier.signature
    spec = complete_preprocess(found, signature, options.input_size, selection.source.size)
    evaluator = make_evaluator(
        classifier,
        spec,
        pixel_range=options.pixel_range,
        batch_size=options.batch_size,
    )
    baselines = _baselines(selection, spec, options)
    classes, kind = probe(classifier, evaluator, selection, spec, options, progress)
    execution = classifier.execution
    notes = [
        chosen,
        f"model: {signature.takes}",
        kind,
        f"runtime: {execution.runtime} {execution.runtime_version}, {execution.provider}, "
        f"{execution.threads} threads",
    ]
    if signature.dtype == np.uint8:
        notes.append("the model takes uint8: filtered images are rounded and clipped to 0..255")
    for note in notes:
        progress.say(note)
    identity = _identity(classifier, evaluator, selection, spec, options, baselines)
    return Plan(
        options=options,
        classifier=classifier,
        evaluator=evaluator,
        selection=selection,
        spec=spec,
        classes=classes,
        coalitions=coalitions,
        baselines=baselines,
        identity=identity,
        notes=tuple(notes),
    )


def _baselines(selection: Selection, spec: Preprocess, options: Options) -> Baselines:
    _, height, width = spec.size()
    index = band_index(height, width, options.bands, options.partition, options.spacing)
    color = others = None
    if options.baseline == "mean":
        color = mean_color(selection, spec, skip=options.on_bad_image == "skip")
    if options.baseline == "complement":
        others = partners(selection.positions, options.seed)
    return Baselines(options.baseline, index, options.bands, options.seed, color, others)


def _identity(
    classifier: Classifier,
    evaluator: WorthEvaluator,
    selection: Selection,
    spec: Preprocess,
    options: Options,
    baselines: Baselines,
) -> dict[str, object]:
    """What two runs must share for their shards to belong together.

    Batch size and threads are in it, as asked for: they change results by rounding, and a resumed
    run is to equal an undisturbed one bit for bit.
    """
    facts, execution = classifier.facts, classifier.execution
    identity = {
        "tool_version": __version__,
        "model_sha256": facts.sha256,
        "model_external": dict(facts.external),
        "output": classifier.signature.output_name,
        "output_kind": evaluator.output_kind,
        "images": selection.source.kind,
        "images_count": int(selection.positions.size),
        "images_digest": selection.digest(),
        "labels": "predicted" if selection.labels is None else "given",
        "preprocess": spec.to_dict(),
        "method": "exact",
        "bands": options.bands,
        "partition": options.partition,
        "spacing": options.spacing,
        "baseline": options.baseline,
        "mean_color": None if baselines.color is None else baselines.color.tolist(),
        "pixel_range": options.pixel_range,
        "limit": options.limit,
        "seed": options.seed,
        "batch_size": evaluator.batch_size,
        "threads": options.threads or "all usable cores",
        "provider": execution.provider,
        "device": execution.device,
        "runtime": execution.runtime,
        "runtime_version": execution.runtime_version,
    }
    # As it will be read back, so that equal means equal.
    parsed: dict[str, object] = json.loads(json.dumps(identity))
    return parsed

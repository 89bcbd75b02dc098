"""Everything that is decided before the first coalition is evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.engine.baselines import CONSTANT_BASELINES, Baselines, mean_color, partners
from iaside_onnx.engine.options import DEFAULT_BUDGET, Options
from iaside_onnx.engine.preprocessing import (
    choose_preprocess,
    complete_preprocess,
    load_model,
    make_evaluator,
)
from iaside_onnx.engine.probing import probe
from iaside_onnx.engine.progress import Progress
from iaside_onnx.engine.schedule import Schedule, draw_order, images_of_shard
from iaside_onnx.engine.selection import Selection, select_images
from iaside_onnx.errors import OptionError
from iaside_onnx.game import MAX_EXACT_BANDS, Estimate, PairedDesign, all_coalitions
from iaside_onnx.images import Preprocess
from iaside_onnx.runtime import (
    Classifier,
    WorthEvaluator,
    fastest_batch,
    read_graph,
)
from iaside_onnx.spectrum import band_index
from iaside_onnx.types import Coalitions, Method
from iaside_onnx.version import __version__

__all__ = ["LIMITS", "Plan", "SamplePlan", "make_plan"]

LIMITS = ("budget", "target_se", "target_sis_width")
"""How far a sampled run goes: all that it may differ in from one that extends it."""

_SHARD_IMAGES = 64
_FIRST_BATCH = 16
_LARGEST_BATCH = 1024


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """What a sampled run draws, and how far it goes.

    Attributes:
        schedule: which coalitions of which image, in which order.
        order: rows of the selection in the order of the draw.
        budget: evaluations in all; None for as many as the target takes.
        target_se: of phi in nats, or None.
        target_sis_width: half of the interval of SIS, or None.
        rounds: steps after each round of a run that this one extends.
    """

    schedule: Schedule
    order: NDArray[np.int64]
    budget: int | None
    target_se: float | None
    target_sis_width: float | None
    rounds: tuple[int, ...] = ()

    @property
    def has_target(self) -> bool:
        """Whether a precision is asked for."""
        return self.target_se is not None or self.target_sis_width is not None

    @property
    def limit(self) -> int:
        """Steps that the run must not go beyond; what it extends is done already."""
        within = self.schedule.steps if self.budget is None else self.schedule.within(self.budget)
        return max([within, *self.rounds[-1:]])

    def missing(self, found: Estimate) -> float:
        """How many times the target the uncertainty is; NaN if unknown, or without a target."""
        ratios = []
        if self.target_se is not None:
            ratios.append(float(found.standard_error.max()) / self.target_se)
        if self.target_sis_width is not None:
            ratios.append((found.sis_high - found.sis_low) / 2 / self.target_sis_width)
        return max(ratios, default=np.nan)


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
        coalitions: those to evaluate of every image, in order; none for a sample.
        sample: what is drawn, if not all are evaluated.
        baselines: what stands in for absent bands.
        identity: all that the results depend on, as JSON values.
        inputs: the model and the source of images, as they were named.
        notes: what was decided, in words.
    """

    options: Options
    classifier: Classifier
    evaluator: WorthEvaluator
    selection: Selection
    spec: Preprocess
    classes: int
    coalitions: Coalitions
    sample: SamplePlan | None
    baselines: Baselines
    identity: Mapping[str, object]
    inputs: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def largest_batch(self) -> int:
        """No batch holds more images than a shard asks for."""
        return _largest_batch(self.coalitions.size, self.sample)

    @property
    def population(self) -> int | None:
        """How many images the intervals are about, if about these images alone."""
        return len(self.selection.source) if self.options.inference == "sample" else None

    @property
    def shards(self) -> list[NDArray[np.int64]]:
        """Rows of the selection that make each shard: about 4,096 evaluations."""
        size = images_of_shard(self.coalitions.size, _SHARD_IMAGES)
        rows = np.arange(self.selection.positions.size)
        return [rows[i : i + size] for i in range(0, rows.size, size)]


def make_plan(
    model: str | Path,
    images: Any,
    options: Options,
    progress: Progress,
    earlier: Sequence[Mapping[str, object] | None] = (),
) -> Plan:
    """Load, look, choose, and check all that can be checked before the work starts.

    Args:
        model: the ONNX file.
        images: a path, or an array as `iaside_onnx.images.open_images` takes it.
        options: what to do.
        progress: is told what was decided.
        earlier: identities of runs to the same output; one that differs in its batch size alone is
            gone on with at that size where the size is to be found.

    Raises:
        IasideError: if something cannot work; nothing has been written.
    """
    facts = read_graph(Path(model))
    found, chosen = choose_preprocess(facts, options)
    selection = select_images(images, options)
    method, why = _choose_method(selection.positions.size, options)
    coalitions = all_coalitions(options.bands) if method == "exact" else np.zeros(0, np.uint64)
    sample = None if method == "exact" else _sample(selection, options)
    largest = _largest_batch(coalitions.size, sample)
    classifier = load_model(facts, found, options)
    signature = classifier.signature
    spec = complete_preprocess(found, signature, options.input_size, selection.source.size)
    evaluator = make_evaluator(
        classifier,
        spec,
        pixel_range=options.pixel_range,
        # A batch never holds more than a shard.
        batch_size=_FIRST_BATCH
        if options.batch_size == "auto"
        else min(options.batch_size, largest),
    )
    evaluator.on_smaller_batch = lambda size: progress.warn(
        f"memory ran out: batches are halved to {size} images"
    )
    baselines = _baselines(selection, spec, options)
    classes, kind = probe(classifier, evaluator, selection, spec, options, progress)
    execution = classifier.execution
    notes = [
        chosen,
        f"model: {signature.takes}",
        why,
        kind,
        f"runtime: {execution.runtime} {execution.runtime_version}, {execution.provider}, "
        f"{execution.threads} threads",
    ]
    if signature.dtype == np.uint8:
        notes.append("the model takes uint8: filtered images are rounded and clipped to 0..255")
    for note in notes:
        progress.say(note)
    identity = _identity(classifier, evaluator, selection, spec, options, baselines, sample)
    if options.batch_size == "auto" and signature.batch is None:
        identity["batch_size"], how = _find_batch(evaluator, identity, earlier, largest)
        notes.append(how)
        progress.say(how)
    return Plan(
        options=options,
        classifier=classifier,
        evaluator=evaluator,
        selection=selection,
        spec=spec,
        classes=classes,
        coalitions=coalitions,
        sample=sample,
        baselines=baselines,
        identity=identity,
        inputs={
            "model": str(model),
            "images": str(images) if isinstance(images, str | Path) else "array",
        },
        notes=tuple(notes),
    )


def _find_batch(
    evaluator: WorthEvaluator,
    identity: Mapping[str, object],
    earlier: Sequence[Mapping[str, object] | None],
    largest: int,
) -> tuple[int, str]:
    """The batch size of an earlier run like this one, or the fastest."""
    for other in earlier:
        size = (other or {}).get("batch_size")
        if other is not None and isinstance(size, int) and identity == {
            **other, "batch_size": identity["batch_size"],
        }:  # fmt: skip
            evaluator.resize(min(size, largest))
            return size, f"batch size: {size}, as before"
    most = min(largest, _LARGEST_BATCH)
    if evaluator.xp is not np:
        # GPUs want more at a time, and cuDNN looks for its algorithms at each new size.
        return fastest_batch(evaluator, most, seconds=20.0, first=64, most_bytes=1 << 30)
    return fastest_batch(evaluator, most)


def _choose_method(images: int, options: Options) -> tuple[Method, str]:
    """The method, and a line that says what it is and why.

    Raises:
        OptionError: if every coalition is to be evaluated of more bands than that can be done for.
    """
    possible = options.bands <= MAX_EXACT_BANDS
    if options.method == "exact" and not possible:
        raise OptionError(
            f"every coalition can be evaluated for up to {MAX_EXACT_BANDS} bands, not "
            f"{options.bands}: leave out --method exact"
        )
    cost, budget = images << options.bands, options.budget or DEFAULT_BUDGET
    every = f"all coalitions of {images:,} images are {cost:,} evaluations"
    if options.method == "exact":
        return "exact", f"method: exact, as asked; {every}"
    if options.method == "sampled":
        return "sampled", f"method: sampled, as asked; {every}"
    if options.has_target:
        return "sampled", f"method: sampled, to reach the precision asked for; {every}"
    if possible and cost <= budget:
        return "exact", f"method: exact; {every}, within the budget of {budget:,}"
    return "sampled", f"method: sampled; {every}, over the budget of {budget:,}"


def _sample(selection: Selection, options: Options) -> SamplePlan:
    """What a sampled run draws.

    Raises:
        OptionError: if the budget is too small for a block of images.
    """
    images = selection.positions.size
    once = 1 + (options.pixel_range == "minmax") + (options.baseline not in CONSTANT_BASELINES)
    schedule = Schedule(PairedDesign(options.bands, options.seed), images, once)
    budget = options.budget
    if budget is None and not options.has_target:
        budget = DEFAULT_BUDGET
    if budget is not None and schedule.within(budget) == 0:
        block = min(options.bands, images)
        raise OptionError(
            f"a budget of {budget} evaluations is less than one block: {block} images at "
            f"{schedule.cost_of(0)} evaluations each are {block * schedule.cost_of(0)}"
        )
    order = draw_order(selection.strata, images, options.seed)
    return SamplePlan(schedule, order, budget, options.target_se, options.target_sis_width)


def _largest_batch(coalitions: int, sample: SamplePlan | None) -> int:
    if sample is not None:
        return sample.schedule.shard_images() * sample.schedule.cost_of(0)
    return images_of_shard(coalitions, _SHARD_IMAGES) * coalitions


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
    sample: SamplePlan | None,
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
        "method": "exact" if sample is None else "sampled",
        "bands": options.bands,
        "partition": options.partition,
        "spacing": options.spacing,
        "baseline": options.baseline,
        "mean_color": None if baselines.color is None else baselines.color.tolist(),
        "pixel_range": options.pixel_range,
        "limit": options.limit,
        "seed": options.seed,
        # As asked for, and not what is left of it if memory has run out already.
        "batch_size": classifier.signature.batch or options.batch_size,
        "threads": options.threads or "all usable cores",
        "provider": execution.provider,
        "device": execution.device,
        "provider_options": dict(execution.provider_options),
        "runtime": execution.runtime,
        "runtime_version": execution.runtime_version,
    }
    if options.inference == "sample":
        identity["about"] = "images"
        identity["population"] = len(selection.source)
    if sample is not None:
        identity |= {name: getattr(sample, name) for name in LIMITS}
    # As it will be read back, so that equal means equal.
    parsed: dict[str, object] = json.loads(json.dumps(identity))
    return parsed

"""Everything that is decided before the first coalition is evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Access, Recipe
from iaside_onnx.errors import OptionError
from iaside_onnx.game import ExactDesign, PairedDesign, make_design
from iaside_onnx.images import Preprocess
from iaside_onnx.model import FoundModel, make_predictor
from iaside_onnx.progress import Progress
from iaside_onnx.runs.baselines import Baselines, mean_color, partners
from iaside_onnx.runs.evaluator import Evaluator
from iaside_onnx.runs.options import DEFAULT_BUDGET, Options
from iaside_onnx.runs.probing import Look, check_baseline, probe
from iaside_onnx.runs.schedule import Schedule
from iaside_onnx.runs.selection import Selection, select_images
from iaside_onnx.runtime import Classifier, Predictor, fastest_batch, usable_cores
from iaside_onnx.spectrum import band_index
from iaside_onnx.version import __version__

__all__ = ["Inputs", "Plan", "find_inputs", "make_plan", "recipe_threads"]

_FIRST_BATCH = 16
_LARGEST_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run is about: found and hashed, but not loaded.

    Attributes:
        model: the model and its preprocessing.
        selection: the images and their labels.
        names: model and source of images, as they were named.
        images: the source of images, as it was given.
    """

    model: FoundModel
    selection: Selection
    names: Mapping[str, str]
    images: Any


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, ready to start.

    Attributes:
        options: as given.
        recipe: all that determines the result.
        inputs: the model and the images.
        schedule: the passes over the images.
        order: rows of the selection in the order of the draw, ``(images,)``.
        evaluator: open in this process.
        classes: number of classes of the model.
        partners: position of the image that is the baseline of each image of the selection,
            ``(images,)``; None where the baseline is no image.
        rounds: steps after each round of a run that this one extends.
        notes: what was decided, in words.
    """

    options: Options
    recipe: Recipe
    inputs: Inputs
    schedule: Schedule
    order: NDArray[np.int64]
    evaluator: Evaluator
    classes: int
    partners: NDArray[np.int64] | None
    rounds: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def selection(self) -> Selection:
        """The images and their labels."""
        return self.inputs.selection

    @property
    def classifier(self) -> Classifier:
        """The loaded model."""
        return self.evaluator.predictor.classifier

    @property
    def has_target(self) -> bool:
        """Whether a precision is asked for."""
        return self.recipe.target_se is not None or self.recipe.target_sis_width is not None

    @property
    def limit(self) -> int:
        """Steps that the run must not exceed; what it extends is done already."""
        budget = self.recipe.budget
        within = self.schedule.steps if budget is None else self.schedule.within(budget)
        return max([within, *self.rounds[-1:]])


def find_inputs(model: str | Path, images: Any, options: Options) -> Inputs:
    """Read the model and look at the images; nothing is loaded or decoded.

    Args:
        model: the ONNX file.
        images: as `iaside_onnx.images.open_images` takes it.
        options: what to do.

    Raises:
        IasideError: if they cannot be used.
    """
    found = FoundModel.read(model, options.preprocess)
    selection = select_images(images, options)
    named = str(images) if isinstance(images, str | Path) else "array"
    return Inputs(found, selection, {"model": str(model), "images": named}, images)


def make_plan(
    inputs: Inputs,
    options: Options,
    progress: Progress,
    earlier: Sequence[Recipe | None] = (),
) -> Plan:
    """Load, look, choose, and check all that can be checked before the work starts.

    Args:
        inputs: the model and the images.
        options: what to do.
        progress: is told what was decided.
        earlier: recipes of runs to the same output. How the first of this model was run is kept.
            Where the batch size is searched for, that of a run that differs in nothing else is
            taken.

    Raises:
        IasideError: if something cannot work; nothing has been written.
    """
    found, selection = inputs.model, inputs.selection
    images = selection.positions.size
    method, why = _choose_method(images, options)
    schedule = Schedule.make(
        make_design(method, options.bands, options.seed),
        images, options.pixel_range, options.baseline,
    )  # fmt: skip
    limits = _limits(schedule, options)
    session = {**_session(options), "input_size": found.size(options.input_size)}
    session |= {"input_layout": options.input_layout, "output_kind": options.output_kind}
    classifier = found.load(options.output_name, **session)
    spec = found.complete(classifier, options.input_size, selection.source.size)
    index = band_index(*spec.size()[1:], options.bands, options.partition, options.spacing)
    predictor = _predictor(classifier, spec, options, schedule.largest_batch, progress)
    color = None
    if options.baseline == "mean":
        color = mean_color(selection, spec, skip=options.on_bad_image == "skip")
    others = None
    if options.baseline == "complement":
        others = partners(selection.positions, options.seed)
    takes, before = classifier.signature.takes, _of_this_model(earlier, classifier)
    look = probe(predictor, selection, spec, options, before)
    outputs, settled = look.outputs, look.settled
    predictor.output_kind = outputs.kind
    baselines = Baselines(options.baseline, index, options.bands, options.seed, color)
    warnings = [*look.warnings, *check_baseline(predictor, baselines, look, options.pixel_range)]
    recipe = _recipe(
        inputs, options, classifier, spec, look,
        method=method,
        mean_color=None if color is None else tuple(color.tolist()),
        access=_access(inputs, options, session),
        **limits,
    )  # fmt: skip
    doubt = f"answers are no function of the image: {settled.nondeterministic}"
    doubts = [doubt] if settled.nondeterministic else []
    for warning in filter(None, [found.warning(spec), *warnings, *doubts]):
        progress.warn(warning)
    notes = [
        *selection.source.notes,
        found.note,
        f"model: {takes}",
        why,
        *classifier.notes,
        f"outputs: {outputs.kind}, {outputs.reason}",
        *([settled.note] if settled.note else []),
        *_execution_notes(classifier, options),
    ]
    for note in notes:
        progress.say(note)
    notes += doubts
    if options.batch_size == "auto" and classifier.signature.batch is None:
        size, how = _find_batch(predictor, recipe, earlier, schedule.largest_batch)
        recipe = replace(recipe, batch_size=size)
        notes.append(how)
        progress.say(how)
    return Plan(
        options=options,
        recipe=recipe,
        inputs=inputs,
        schedule=schedule,
        order=schedule.design.order(selection.strata, images),
        evaluator=Evaluator(recipe, predictor, selection.source, baselines),
        classes=outputs.classes,
        partners=others,
        rounds=(),
        notes=tuple(notes),
    )


def _of_this_model(earlier: Sequence[Recipe | None], classifier: Classifier) -> Recipe | None:
    """The first recipe that tells how this model is to be run, by this version of iaside."""
    facts, output = classifier.facts, classifier.signature.output_name
    wanted = (__version__, facts.sha256, dict(facts.external), output)
    for other in earlier:
        if other is not None and wanted == (
            other.tool_version, other.model_sha256, other.model_external, other.output
        ):  # fmt: skip
            return other
    return None


def _predictor(
    classifier: Classifier, spec: Preprocess, options: Options, largest: int, progress: Progress
) -> Predictor:
    """The model with its buffers; no batch is larger than a shard."""
    size = _FIRST_BATCH if options.batch_size == "auto" else min(options.batch_size, largest)
    predictor = make_predictor(classifier, spec, size)
    predictor.on_smaller_batch = lambda size: progress.warn(
        f"memory ran out: batches are halved to {size} images"
    )
    return predictor


def recipe_threads(options: Options) -> int | Literal["all usable cores"]:
    """Threads of one call, as a recipe has them.

    Without workers the number of cores is not fixed: the run may be resumed with others.
    """
    if options.threads is None and options.workers > 1:
        return max(usable_cores() // options.workers, 1)
    return options.threads or "all usable cores"


def _session(options: Options) -> dict[str, Any]:
    """How the model is loaded, here and in workers."""
    threads = recipe_threads(options)
    return {
        "device": options.device,
        "provider": options.provider,
        "threads": threads if isinstance(threads, int) else None,
        "provider_options": options.provider_options,
        "tf32": options.tf32,
        "cuda_graph": options.cuda_graph,
        "allow_cpu_nodes": options.allow_cpu_nodes,
    }


def _execution_notes(classifier: Classifier, options: Options) -> list[str]:
    execution = classifier.execution
    workers = f", {options.workers} workers" if options.workers > 1 else ""
    notes = [
        f"runtime: {execution.runtime} {execution.runtime_version}, {execution.provider}, "
        f"{execution.threads} threads{workers}"
    ]
    if classifier.signature.dtype == np.uint8:
        notes.append("the model takes uint8: filtered images are rounded and clipped to 0..255")
    return notes


def _find_batch(
    predictor: Predictor, recipe: Recipe, earlier: Sequence[Recipe | None], largest: int
) -> tuple[int, str]:
    """The batch size of an earlier run like this one, or the fastest."""
    for other in earlier:
        if other is not None and replace(other, batch_size=recipe.batch_size) == recipe:
            predictor.resize(min(other.batch_size, largest))
            return other.batch_size, f"batch size: {other.batch_size}, as before"
    most = min(largest, _LARGEST_BATCH)
    if predictor.xp is not np:
        # GPUs need larger batches, and cuDNN searches for its algorithms at each new size.
        return fastest_batch(predictor, most, seconds=20.0, first=64, most_bytes=1 << 30)
    return fastest_batch(predictor, most)


def _choose_method(images: int, options: Options) -> tuple[str, str]:
    """The name of the design, and a line that says what it is and why."""
    exact, sampled = ExactDesign.name, PairedDesign.name
    every = f"all coalitions of {images:,} images are {images << options.bands:,} evaluations"
    if options.method != "auto":
        return options.method, f"method: {options.method}, as asked; {every}"
    if options.has_target:
        return sampled, f"method: {sampled}, to reach the precision asked for; {every}"
    budget = options.budget or DEFAULT_BUDGET
    if options.bands <= ExactDesign.max_bands and images << options.bands <= budget:
        return exact, f"method: {exact}; {every}, within the budget of {budget:,}"
    return sampled, f"method: {sampled}; {every}, over the budget of {budget:,}"


def _limits(schedule: Schedule, options: Options) -> dict[str, Any]:
    """How far a sequential run goes, as fields of the recipe.

    Raises:
        OptionError: if the budget is less than one block of images.
    """
    if not schedule.design.sequential:
        return {}
    budget = options.budget
    if budget is None and not options.has_target:
        budget = DEFAULT_BUDGET
    if budget is not None and schedule.within(budget) == 0:
        block = min(schedule.design.block, schedule.images)
        each = schedule.cost_of(0)
        raise OptionError(
            f"a budget of {budget} evaluations is less than one block: {block} images at "
            f"{each} evaluations each are {block * each}"
        )
    return {
        "budget": budget,
        "target_se": options.target_se,
        "target_sis_width": options.target_sis_width,
    }


def _access(inputs: Inputs, options: Options, session: Mapping[str, Any]) -> Access:
    """Where a worker finds the model and the images, and how it loads them."""
    return Access(
        inputs.model.facts.path,
        inputs.images,
        options.classes,
        options.own_labels,
        session,
        options.images_key,
        options.labels_key,
    )


def _recipe(
    inputs: Inputs,
    options: Options,
    classifier: Classifier,
    spec: Preprocess,
    look: Look,
    **decided: Any,
) -> Recipe:
    """The recipe; what was decided elsewhere is passed by the names of its fields."""
    facts, execution, selection = classifier.facts, classifier.execution, inputs.selection
    size = options.batch_size
    first = _FIRST_BATCH if size == "auto" else size
    about_sample = options.inference == "sample"
    return Recipe(
        tool_version=__version__,
        model_sha256=facts.sha256,
        model_external=dict(facts.external),
        output=classifier.signature.output_name,
        output_kind=look.outputs.kind,
        images=selection.source.kind,
        images_count=int(selection.positions.size),
        images_digest=selection.digest(),
        labels="predicted" if selection.labels is None else "given",
        preprocess=spec.to_dict(),
        input_layout=options.input_layout,
        bands=options.bands,
        partition=options.partition,
        spacing=options.spacing,
        baseline=options.baseline,
        pixel_range=options.pixel_range,
        limit=options.limit,
        seed=options.seed,
        # As asked for, and not what is left of it if memory has run out already.
        batch_size=classifier.signature.batch or first,
        threads=recipe_threads(options),
        provider=execution.provider,
        device=execution.device,
        provider_options=dict(execution.provider_options),
        runtime=execution.runtime,
        runtime_version=execution.runtime_version,
        inference=options.inference,
        population=len(selection.source) if about_sample else None,
        batch_rule=look.settled.rule,
        nondeterministic=look.settled.nondeterministic,
        **decided,
    )

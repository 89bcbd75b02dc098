"""One process, one machine: evaluates the shards of a plan, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Failure, Shard, Workspace
from iaside_onnx.engine.plan import Plan
from iaside_onnx.engine.progress import Progress
from iaside_onnx.errors import ArchiveError, EvaluationError, ImageError, RunConflictError
from iaside_onnx.game import shapley_values
from iaside_onnx.images import Sample, load_ahead
from iaside_onnx.runtime import log_probabilities, usable_cores
from iaside_onnx.spectrum import band_components
from iaside_onnx.types import Worth

__all__ = ["run_shards"]


@dataclass(frozen=True, slots=True)
class _Result:
    """What one image gave."""

    position: int
    image_id: str
    sha256: str
    label: int
    predicted: int
    whole: float
    worth: Worth
    floored: int


@dataclass(slots=True)
class _Loaded:
    """An image of a shard, and its partner if the baseline needs one."""

    row: int
    position: int
    items: list[Sample | ImageError] = field(default_factory=list)

    @property
    def error(self) -> ImageError | None:
        return next((i for i in self.items if isinstance(i, ImageError)), None)

    @property
    def samples(self) -> list[Sample]:
        return [i for i in self.items if isinstance(i, Sample)]


def run_shards(plan: Plan, workspace: Workspace, progress: Progress) -> None:
    """Evaluate every shard that is not there yet; the workspace must be locked and claimed.

    A shard that an earlier run left with failed images is done again, unless these are to be
    skipped: the images may have been mended.

    Raises:
        ArchiveError: if a shard cannot be written; those before it are kept.
    """
    shards = plan.shards
    todo = [n for n, rows in enumerate(shards) if not _finished(plan, workspace, progress, n, rows)]
    total = plan.selection.positions.size
    progress.begin(total, total - sum(shards[n].size for n in todo), plan.coalitions.size)
    try:
        loaded = _load(plan, np.concatenate([shards[n] for n in todo])) if todo else iter(())
        for number in todo:
            batch = [next(loaded) for _ in shards[number]]
            workspace.write(number, _evaluate(plan, batch, progress))
    finally:
        progress.end()


def _finished(
    plan: Plan, workspace: Workspace, progress: Progress, number: int, rows: NDArray[np.int64]
) -> bool:
    try:
        shard = workspace.read(number, plan.selection.positions[rows])
    except ArchiveError as error:
        progress.warn(f"{error}; it is evaluated again")
        return False
    if shard is None or (shard.failures and plan.options.on_bad_image == "error"):
        return False
    changed = plan.selection.first_changed(shard.image.tolist(), shard.image_sha256)
    if changed is None:
        return True
    if not plan.options.overwrite:
        raise RunConflictError(
            f"{workspace.folder}: holds an unfinished run over other images: image {changed} has "
            "changed since; give the same images, another output, or --overwrite to evaluate the "
            "changed ones again"
        )
    progress.warn(f"image {changed} has changed since; its shard is evaluated again")
    return False


def _load(plan: Plan, rows: NDArray[np.int64]) -> Iterator[_Loaded]:
    """Images with their partners, in order, decoded ahead of the model."""
    positions = plan.selection.positions[rows].tolist()
    reads = [plan.baselines.reads(position) for position in positions]
    flat = [position for group in reads for position in group]
    items = load_ahead(plan.selection.source, flat, plan.spec, usable_cores())
    for row, position, group in zip(rows.tolist(), positions, reads, strict=True):
        yield _Loaded(row, position, [next(items) for _ in group])


def _evaluate(plan: Plan, images: list[_Loaded], progress: Progress) -> Shard:
    """Everything about the images of one shard."""
    results: list[_Result] = []
    failures: list[Failure] = []
    good = [image for image in images if image.error is None]
    answers: dict[int, NDArray[Any]] = {}
    if good:
        whole = plan.evaluator.raw_outputs(np.stack([i.samples[0].pixels for i in good]))
        answers = dict(zip([image.row for image in good], whole, strict=True))
    for image in images:
        name = plan.selection.source.ids[image.position]
        try:
            if isinstance(image.items[0], Sample) and image.error is not None:
                raise ImageError(f"the image that is its baseline failed: {image.error}")
            if image.error is not None:
                raise image.error
            results.append(_decompose(plan, image, name, answers[image.row]))
        except (ImageError, EvaluationError) as error:
            failures.append(Failure(image.position, name, str(error)))
        progress.advance(1)
    return _shard(plan, results, failures)


def _decompose(plan: Plan, image: _Loaded, name: str, answer: NDArray[Any]) -> _Result:
    """The game of one image."""
    values, _ = log_probabilities(answer[None], plan.evaluator.output_kind)
    predicted = int(values[0].argmax())
    given = plan.selection.label_of(image.row)
    label = predicted if given is None else given
    sample, *others = image.samples
    baselines = plan.baselines
    other = others[0].pixels if others else None
    offset = baselines.make(sample.pixels, image.position, other)
    components = band_components(sample.pixels - offset, baselines.index, baselines.bands)
    worth, floored = plan.evaluator.worth(offset, components, plan.coalitions, label)
    return _Result(
        image.position, name, sample.sha256, label, predicted, float(values[0, label]),
        worth, floored,
    )  # fmt: skip


def _shard(plan: Plan, results: list[_Result], failures: list[Failure]) -> Shard:
    shape = (len(results), plan.coalitions.size)
    worth = np.array([r.worth for r in results], dtype=np.float32).reshape(shape)
    return Shard(
        image=np.array([r.position for r in results], dtype=np.int64),
        image_id=[r.image_id for r in results],
        image_sha256=[r.sha256 for r in results],
        label=np.array([r.label for r in results], dtype=np.int64),
        predicted=np.array([r.predicted for r in results], dtype=np.int64),
        worth=worth,
        phi_image=shapley_values(worth),
        log_probability_whole=np.array([r.whole for r in results], dtype=np.float32),
        log_probability_empty=worth[:, 0].copy(),
        floored=np.array([r.floored for r in results], dtype=np.int64),
        failures=tuple(failures),
    )

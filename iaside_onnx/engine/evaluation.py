"""The games of images: read, filtered, evaluated, and put together again."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Failure, Shard, Workspace
from iaside_onnx.engine.plan import Plan
from iaside_onnx.engine.progress import Progress
from iaside_onnx.errors import ArchiveError, EvaluationError, ImageError, RunConflictError
from iaside_onnx.images import PreparedImage, load_ahead
from iaside_onnx.runtime import Answer, Game, log_probabilities, usable_cores
from iaside_onnx.spectrum import band_components, limit_range
from iaside_onnx.types import Coalitions, Worth

__all__ = ["Result", "Task", "Worker", "check_model", "is_finished", "make_shard"]

_GAMES_BYTES = 1 << 21
"""Components that are made together, of as many images as fit."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is wanted of one image.

    Attributes:
        row: of the selection.
        coalitions: whose worth is wanted, ``(n,)``.
        label: class index; None for the model's own answer.
    """

    row: int
    coalitions: Coalitions
    label: int | None


@dataclass(frozen=True, slots=True)
class _Image:
    """A task's image, and its partner if the baseline needs one, read or not."""

    task: Task
    position: int
    name: str
    items: list[PreparedImage | ImageError]

    @property
    def error(self) -> ImageError | None:
        """Why it cannot be evaluated, if so."""
        own, *others = self.items
        if isinstance(own, ImageError):
            return own
        for other in others:
            if isinstance(other, ImageError):
                return ImageError(f"the image that is its baseline failed: {other}")
        return None

    @property
    def samples(self) -> list[PreparedImage]:
        return [item for item in self.items if isinstance(item, PreparedImage)]


@dataclass(frozen=True, slots=True)
class Result:
    """What one image gave.

    Attributes:
        position: in the source.
        image_id: its name.
        sha256: its hash.
        label: class index that the worths are about.
        predicted: the model's own answer; -1 if the whole image was not evaluated.
        whole: log-probability of the whole image in nats, NaN likewise.
        worth: of each coalition asked for, in nats.
        floored: how many were raised to the smallest probability.
    """

    position: int
    image_id: str
    sha256: str
    label: int
    predicted: int
    whole: float
    worth: Worth
    floored: int


def _load(plan: Plan, tasks: Iterable[Task]) -> Iterator[_Image]:
    """The tasks' images with their partners, in order, decoded ahead of the model."""
    tasks = list(tasks)
    source = plan.selection.source
    positions = plan.selection.positions[[task.row for task in tasks]].tolist()
    reads = [plan.baselines.reads(position) for position in positions]
    flat = [position for group in reads for position in group]
    timer = partial(plan.evaluator.profile.phase, "decode")
    items = load_ahead(source, flat, plan.spec, usable_cores(), timer=timer)
    for task, position, group in zip(tasks, positions, reads, strict=True):
        yield _Image(task, position, source.ids[position], [next(items) for _ in group])


class Worker:
    """Evaluates tasks one after the other; images of several tasks share batches.

    All tasks of a worker ask for a list of the same form: the empty and the full coalition are at
    the same places.
    """

    def __init__(
        self,
        plan: Plan,
        tasks: Iterable[Task],
        form: Coalitions,
        progress: Progress,
        *,
        whole: bool = True,
        chained: bool = False,
    ) -> None:
        """Begin to read images.

        Args:
            plan: the run.
            tasks: what is wanted.
            form: the coalitions of any one of them.
            progress: is told when images are finished.
            whole: whether the image as it is is wanted too.
            chained: whether most coalitions are the one before and one band more.
        """
        self._plan = plan
        self._images = _load(plan, tasks)
        self._progress = progress
        self._evaluator = plan.evaluator
        self._profile = plan.evaluator.profile
        self._index = plan.evaluator.xp.asarray(plan.baselines.index)
        self._whole = whole
        self._chained = chained
        self._is_empty = (form == 0) & plan.baselines.constant
        # With all bands present an image is what it was, save where its range is stretched.
        full = np.uint64((1 << plan.baselines.bands) - 1)
        self._is_whole = (form == full) & (plan.options.pixel_range != "minmax")
        self._asked = ~(self._is_empty | self._is_whole)
        self._empty: tuple[NDArray[Any], NDArray[Any]] | EvaluationError | None = None

    @property
    def evaluations(self) -> int:
        """Of the model for each image; a baseline that all share is evaluated once."""
        return int(self._asked.sum()) + self._whole

    def evaluate(self, count: int) -> tuple[list[Result], list[Failure]]:
        """Everything about the next so many images, in order."""
        results: list[Result] = []
        failures: list[Failure] = []
        playing: deque[_Image] = deque()
        for answer in self._evaluator.evaluate(self._games(count, playing, failures)):
            image = playing.popleft()
            try:
                results.append(self._result(image, answer))
            except EvaluationError as error:
                failures.append(Failure(image.position, image.name, str(error)))
            self._progress.advance(1)
        failures.sort(key=lambda failure: failure.position)
        return results, failures

    def _games(self, count: int, playing: deque[_Image], failures: list[Failure]) -> Iterator[Game]:
        """The games of the images that can be read, and their images in the same order.

        Small images are read and divided several at a time, while the code is in the cache.
        """
        bytes_each = 4 * self._plan.baselines.bands * math.prod(self._plan.spec.size())
        together = max(_GAMES_BYTES // bytes_each, 1)
        for start in range(0, count, together):
            with self._profile.phase("wait for decode"):
                images = list(islice(self._images, min(together, count - start)))
            good = [image for image in images if image.error is None]
            failures.extend(
                Failure(image.position, image.name, str(image.error))
                for image in images
                if image.error is not None
            )
            self._progress.advance(len(images) - len(good))
            with self._profile.phase("fft"):
                games = [self._evaluator.spared(partial(self._game, image)) for image in good]
            for image, game in zip(good, games, strict=True):
                playing.append(image)
                yield game

    def _game(self, image: _Image) -> Game:
        """An image divided over its baseline."""
        xp, baselines = self._evaluator.xp, self._plan.baselines
        pixels, *others = (xp.asarray(sample.pixels) for sample in image.samples)
        offset = baselines.make(pixels, image.position, others[0] if others else None, xp)
        difference, scale = pixels - offset, self._evaluator.component_scale
        if scale is not None:
            difference *= scale
        components = band_components(
            difference, self._index, baselines.bands, xp, self._evaluator.each
        )
        return Game(
            offset,
            components,
            image.task.coalitions[self._asked],
            pixels if self._whole else None,
            image.task.label,
            chained=self._chained,
            scaled=scale is not None,
        )

    def _result(self, image: _Image, answer: Answer) -> Result:
        """The worth of every coalition, whether it was evaluated for this image or not.

        Raises:
            EvaluationError: if the model gave no log-probability for one of them.
        """
        if answer.error is not None:
            raise answer.error
        first = int(self._whole)
        worth = np.empty(self._asked.size, dtype=np.float32)
        worth[self._asked] = answer.values[first:]
        floored = int(answer.raised[first:].sum())
        if self._is_whole.any():
            worth[self._is_whole] = answer.values[0]
            floored += int(answer.raised[0])
        if self._is_empty.any():
            values, raised = self._empty_image(image)
            worth[self._is_empty] = values[answer.label]
            floored += int(raised[answer.label])
        return Result(
            image.position, image.name, image.samples[0].sha256, answer.label, answer.predicted,
            float(answer.values[0]) if self._whole else math.nan, worth, floored,
        )  # fmt: skip

    def _empty_image(self, image: _Image) -> tuple[NDArray[Any], NDArray[Any]]:
        """Log-probabilities of a baseline that all images share, evaluated once."""
        if self._empty is None:
            plan = self._plan
            baseline = plan.baselines.make(image.samples[0].pixels, image.position, None)[None]
            limit_range(baseline, plan.options.pixel_range)
            outputs = self._evaluator.raw_outputs(baseline)
            try:
                values, raised = log_probabilities(outputs, self._evaluator.output_kind)
                self._empty = values[0], raised[0]
            except EvaluationError as error:
                self._empty = error
        if isinstance(self._empty, EvaluationError):
            raise self._empty
        return self._empty


def check_model(plan: Plan) -> None:
    """Make sure that what was evaluated last is still the model that was hashed.

    Asked before a shard is written: ONNX Runtime maps external data into memory, so whoever writes
    into that file changes the model that runs.

    Raises:
        RunConflictError: if it is not.
    """
    changed = plan.classifier.facts.changed()
    if changed is not None:
        raise RunConflictError(
            f"{changed}: changed during the run; what was finished before is kept for the model as "
            "it was: put it back and run the same command again, or give another output"
        )


def make_shard(
    plan: Plan, results: list[Result], failures: list[Failure], coalitions: int
) -> Shard:
    """What images gave, as it is written down; ``phi_image`` is left to be filled in."""
    shape = (len(results), coalitions)
    worth = np.array([r.worth for r in results], dtype=np.float32).reshape(shape)
    return Shard(
        image=np.array([r.position for r in results], dtype=np.int64),
        image_id=[r.image_id for r in results],
        image_sha256=[r.sha256 for r in results],
        label=np.array([r.label for r in results], dtype=np.int64),
        predicted=np.array([r.predicted for r in results], dtype=np.int64),
        worth=worth,
        phi_image=np.full((len(results), plan.baselines.bands), np.nan),
        log_probability_whole=np.array([r.whole for r in results], dtype=np.float32),
        log_probability_empty=worth[:, 0].copy(),
        floored=np.array([r.floored for r in results], dtype=np.int64),
        failures=tuple(failures),
        batch_size=plan.evaluator.batch_size,
    )


def is_finished(
    plan: Plan, workspace: Workspace, progress: Progress, number: int, rows: NDArray[np.int64]
) -> bool:
    """Whether a shard is there, whole, and of the images as they are now.

    One that an earlier run left with failed images is not, unless these are to be skipped: the
    images may have been mended.

    Raises:
        RunConflictError: if an image has changed since, and must not be evaluated again.
    """
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

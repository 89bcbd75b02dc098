"""Everything live that evaluating takes, and the evaluation of jobs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Failure, Recipe, Shard
from iaside_onnx.errors import EvaluationError, ImageError, RunConflictError
from iaside_onnx.game import make_design
from iaside_onnx.images import ImageSource, PreparedImage, Preprocess, load_ahead, open_images
from iaside_onnx.model import make_predictor
from iaside_onnx.runs.baselines import Baselines
from iaside_onnx.runs.dependence import apply_rule
from iaside_onnx.runs.jobs import OWN_ANSWER, Job
from iaside_onnx.runs.schedule import Schedule
from iaside_onnx.runtime import (
    Answer,
    Game,
    Predictor,
    Profile,
    WorthEvaluator,
    load_classifier,
    log_probabilities,
    read_graph,
    usable_cores,
)
from iaside_onnx.spectrum import limit_range
from iaside_onnx.types import Coalitions, Worth

__all__ = ["Evaluator"]


class Evaluator:
    """Evaluates the jobs of one recipe, in this process.

    Attributes:
        predictor: the model.
        spec: how images are prepared for it.
    """

    def __init__(
        self, recipe: Recipe, predictor: Predictor, source: ImageSource, baselines: Baselines
    ) -> None:
        """Make an evaluator of what is open already; `open` opens it by itself.

        Args:
            recipe: what to evaluate.
            predictor: the model.
            source: the images.
            baselines: what stands in for absent bands.
        """
        self.predictor = predictor
        self._source = source
        self.spec = Preprocess.from_dict(recipe.preprocess, "preprocess")
        self._design = make_design(recipe.method, recipe.bands, recipe.seed)
        self._range = recipe.pixel_range
        self._baselines = baselines
        self._worths = WorthEvaluator(predictor, baselines.index, recipe.bands, self._range)
        # The log-probabilities of a baseline that all images share are evaluated once.
        self._empty: tuple[NDArray[Any], NDArray[Any]] | EvaluationError | None = None

    @classmethod
    def open(cls, recipe: Recipe) -> Evaluator:
        """Open the model and the images of a recipe.

        Raises:
            RunConflictError: if the model is not the one of the recipe.
            IasideError: if the model or the images cannot be opened.
        """
        access = recipe.access
        if access is None:
            raise ValueError("the recipe does not say where its model and images are")
        facts = read_graph(access.model)
        if facts.sha256 != recipe.model_sha256 or dict(facts.external) != recipe.model_external:
            raise RunConflictError(
                f"{access.model}: changed during the run; what is finished is kept: put the model "
                "back and run the same command again"
            )
        classifier = load_classifier(facts, output=recipe.output, **access.session)
        apply_rule(recipe, classifier)
        spec = Preprocess.from_dict(recipe.preprocess, "preprocess")
        largest = Schedule.of(recipe).largest_batch
        predictor = make_predictor(classifier, spec, min(recipe.batch_size, largest))
        predictor.output_kind = recipe.output_kind
        source = open_images(
            access.images, access.classes, access.labels, access.images_key, access.labels_key
        )
        return cls(recipe, predictor, source, Baselines.of(recipe, *spec.size()[1:]))

    @property
    def profile(self) -> Profile:
        """Time spent in each phase."""
        return self.predictor.profile

    def evaluate(
        self, jobs: Sequence[Job], advance: Callable[[int], None] = lambda _: None
    ) -> Iterator[tuple[Job, Shard]]:
        """Evaluate jobs one after the other; their images are decoded ahead of the model.

        Args:
            jobs: what is wanted.
            advance: is told the number of images that have been finished since the last call.
        """
        images = self._load(jobs)
        for job in jobs:
            yield job, self._shard(job, images, advance)

    def _load(self, jobs: Sequence[Job]) -> Iterator[_Image]:
        """The images of jobs with their partners, in order."""
        reads = [job.reads(row) for job in jobs for row in range(job.positions.size)]
        flat = [position for group in reads for position in group]
        timer = partial(self.profile.phase, "decode")
        items = load_ahead(self._source, flat, self.spec, usable_cores(), timer=timer)
        for group in reads:
            position = group[0]
            yield _Image(position, self._source.ids[position], [next(items) for _ in group])

    def _shard(self, job: Job, images: Iterator[_Image], advance: Callable[[int], None]) -> Shard:
        """Everything about the images of a job."""
        asked = self._asked(job)
        results: list[_Result] = []
        failures: list[Failure] = []
        playing: deque[_Image] = deque()
        for answer in self._worths.evaluate(
            self._games(job, asked, images, playing, failures, advance)
        ):
            image = playing.popleft()
            try:
                results.append(self._result(image, answer, asked))
            except EvaluationError as error:
                failures.append(Failure(image.position, image.name, str(error)))
            advance(1)
        failures.sort(key=lambda failure: failure.position)
        return _to_shard(job, results, failures, self.predictor.batch_size)

    def _asked(self, job: Job) -> _Asked:
        """Which coalitions of the images of a job the model must see."""
        # The empty and the full coalition are in the same columns for all images of a job.
        form = job.coalitions(self._design, 0)
        full = np.uint64((1 << self._baselines.bands) - 1)
        # With all bands present an image is what it was, except where its range is stretched.
        is_whole = (form == full) & (self._range != "minmax") & job.whole
        is_empty = (form == 0) & self._baselines.constant
        return _Asked(is_empty, is_whole, ~(is_empty | is_whole), job.whole)

    def _games(
        self,
        job: Job,
        asked: _Asked,
        images: Iterator[_Image],
        playing: deque[_Image],
        failures: list[Failure],
        advance: Callable[[int], None],
    ) -> Iterator[Game]:
        """The games of the images that can be read, and their images in the same order."""
        for row in range(job.positions.size):
            with self.profile.phase("wait for decode"):
                image = next(images)
            if image.error is not None:
                failures.append(Failure(image.position, image.name, str(image.error)))
                advance(1)
                continue
            label = int(job.labels[row])
            with self.profile.phase("fft"):
                game = self._game(image, job.coalitions(self._design, row), asked, label)
            playing.append(image)
            yield game

    def _game(self, image: _Image, coalitions: Coalitions, asked: _Asked, label: int) -> Game:
        """An image divided over its baseline."""
        pixels, *others = (item.pixels for item in image.prepared)
        offset = self._baselines.make(pixels, image.position, others[0] if others else None)
        return Game(
            offset,
            pixels - offset,
            coalitions[asked.evaluated],
            pixels if asked.whole else None,
            None if label == OWN_ANSWER else label,
        )

    def _result(self, image: _Image, answer: Answer, asked: _Asked) -> _Result:
        """The worth of every coalition, whether it was evaluated for this image or not.

        Raises:
            EvaluationError: if the model gave no log-probability for one of them.
        """
        if answer.error is not None:
            raise answer.error
        first = int(asked.whole)
        worth = np.empty(asked.evaluated.size, dtype=np.float32)
        worth[asked.evaluated] = answer.values[first:]
        floored = int(answer.floored[first:].sum())
        if asked.is_whole.any():
            worth[asked.is_whole] = answer.values[0]
            floored += int(answer.floored[0])
        if asked.is_empty.any():
            values, floors = self._empty_image(image)
            worth[asked.is_empty] = values[answer.label]
            floored += int(floors[answer.label])
        whole = float(answer.values[0]) if asked.whole else math.nan
        return _Result(image, answer.label, answer.predicted, whole, worth, floored)

    def _empty_image(self, image: _Image) -> tuple[NDArray[Any], NDArray[Any]]:
        """Log-probabilities of a baseline that all images share, and which were floored.

        Raises:
            EvaluationError: if the model gives none.
        """
        if self._empty is None:
            baseline = self._baselines.make(image.prepared[0].pixels, image.position, None)[None]
            limit_range(baseline, self._range)
            outputs = self.predictor.outputs(baseline)
            try:
                values, floors = log_probabilities(outputs, self.predictor.output_kind)
                self._empty = values[0], floors[0]
            except EvaluationError as error:
                self._empty = error
        if isinstance(self._empty, EvaluationError):
            raise self._empty
        return self._empty


@dataclass(frozen=True, slots=True)
class _Image:
    """An image and its partner, if the baseline needs one, each read or not."""

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
    def prepared(self) -> list[PreparedImage]:
        return [item for item in self.items if isinstance(item, PreparedImage)]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Where the worth of each coalition of a job comes from.

    Attributes:
        is_empty: from the baseline that all images share, ``(n,)``.
        is_whole: from the image as it is, ``(n,)``.
        evaluated: from an evaluation of its own, ``(n,)``.
        whole: whether the image as it is is evaluated.
    """

    is_empty: NDArray[np.bool_]
    is_whole: NDArray[np.bool_]
    evaluated: NDArray[np.bool_]
    whole: bool


@dataclass(frozen=True, slots=True)
class _Result:
    """What one image gave; values are log-probabilities in nats."""

    image: _Image
    label: int
    predicted: int
    whole: float
    worth: Worth
    floored: int


def _to_shard(job: Job, results: list[_Result], failures: list[Failure], batch_size: int) -> Shard:
    shape = (len(results), job.stop - job.start)
    worth = np.array([r.worth for r in results], dtype=np.float32).reshape(shape)
    values: dict[str, Any] = {
        "image": np.array([r.image.position for r in results], dtype=np.int64),
        "image_id": [r.image.name for r in results],
        "image_sha256": [r.image.prepared[0].sha256 for r in results],
        "label": np.array([r.label for r in results], dtype=np.int64),
        "worth": worth,
        "floored": np.array([r.floored for r in results], dtype=np.int64),
    }
    if job.whole:
        values |= {
            "predicted": np.array([r.predicted for r in results], dtype=np.int64),
            "log_probability_whole": np.array([r.whole for r in results], dtype=np.float32),
            "log_probability_empty": worth[:, 0].copy(),
        }
    return Shard(values, tuple(failures), batch_size)

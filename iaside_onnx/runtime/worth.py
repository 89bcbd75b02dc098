"""The worth of coalitions: divide into bands, mix, run the model, take the label's logarithm."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from iaside_onnx.errors import EvaluationError, OutOfMemoryError
from iaside_onnx.runtime.memory import retry_after_release
from iaside_onnx.runtime.outputs import label_log_probabilities, log_probabilities
from iaside_onnx.runtime.packing import Answer, Game, Part, PendingGame, cut
from iaside_onnx.runtime.predictor import Predictor
from iaside_onnx.runtime.threads import ThreadPool
from iaside_onnx.spectrum import (
    ParallelFor,
    band_components,
    limit_range,
    mix,
    mix_order,
    serial_for,
)
from iaside_onnx.types import BandIndex, PixelRange

__all__ = ["WorthEvaluator"]

_DIVIDED_BYTES = 1 << 21
"""Components of small images are made together up to this size, while code and data are cached."""


class WorthEvaluator:
    """Evaluates one classifier on an offset plus any set of the bands of a difference.

    It knows nothing of images and baselines: dividing an image over a baseline and dividing a
    perturbation over the image that it damages are the same call. Games share batches, so that
    every batch but the last is full.

    Attributes:
        predictor: the model; its batch size, output kind and profile apply here too.
    """

    def __init__(
        self,
        predictor: Predictor,
        band_index: BandIndex,
        bands: int,
        pixel_range: PixelRange = "none",
    ) -> None:
        """Prepare the division into bands.

        Args:
            predictor: the model.
            band_index: the band of each frequency, from `iaside_onnx.spectrum.band_index` of the
                predictor's image size.
            bands: the number of bands.
            pixel_range: what is done to a filtered image that leaves [0, 1].
        """
        self.predictor = predictor
        self._index = predictor.xp.asarray(band_index)
        self._bands = bands
        self._range: PixelRange = pixel_range
        # A GPU needs no threads on the host.
        on_host = predictor.xp is np
        threads = predictor.classifier.execution.threads
        self._parallel_for: ParallelFor = ThreadPool(threads) if on_host else serial_for
        component_bytes = 4 * bands * math.prod(predictor.image_shape)
        self._divided_together = max(_DIVIDED_BYTES // component_bytes, 1)

    def evaluate(self, games: Iterable[Game]) -> Iterator[Answer]:
        """Evaluate games one after the other, as many in a batch as fit, and give them in order.

        Games are taken as they are needed: a few are divided ahead, and no more are held than a
        batch touches.

        Raises:
            OutOfMemoryError: if memory runs out for a batch of a single image.
        """
        waiting: deque[PendingGame] = deque()
        parts: list[Part] = []
        rows = 0
        for game in self._divided(games):
            waiting.append(game)
            parts.append(Part(game, 0, game.missing))
            rows += game.missing
            while rows >= self.predictor.rows:
                rows -= self.predictor.rows
                batch, parts = cut(parts, self.predictor.rows)
                self._evaluate(batch)
            while waiting and waiting[0].missing == 0:
                yield waiting.popleft().answer
        if parts:
            self._evaluate(parts)
        yield from (game.answer for game in waiting)

    def _divided(self, games: Iterable[Game]) -> Iterator[PendingGame]:
        """Divide games, several small ones at a time."""
        remaining = iter(games)
        while some := list(islice(remaining, self._divided_together)):
            with self.predictor.profile.phase("fft"):
                divided = [
                    retry_after_release(self.predictor.memory, partial(self._divide, game))
                    for game in some
                ]
            yield from divided

    def _divide(self, game: Game) -> PendingGame:
        """Move a game to the model's memory, and divide its difference into bands."""
        xp, inputs = self.predictor.xp, self.predictor.inputs
        label = -1 if game.label is None else game.label
        rows = game.coalitions.size + (game.whole is not None)
        answer = Answer(label, -1, np.full(rows, np.nan), np.zeros(rows, dtype=bool))
        difference = xp.asarray(game.difference)
        offset = inputs.to_layout(xp.asarray(game.offset))
        whole = None if game.whole is None else inputs.to_layout(xp.asarray(game.whole))
        if self._range == "none":
            # Division and mixing are linear: normalise 3 images, not 2**M.
            difference = difference * inputs.scale[:, None, None]
            offset = inputs.normalised(offset)
            whole = None if whole is None else inputs.normalised(whole)
        components = inputs.to_layout(
            band_components(difference, self._index, self._bands, xp, self._parallel_for)
        )
        order = mix_order(game.coalitions)
        return PendingGame(offset, components, game.coalitions, order, whole, answer, rows)

    def _evaluate(self, batch: list[Part]) -> None:
        """Evaluate a batch, in smaller ones if it does not fit into memory."""
        try:
            with suppress(MemoryError, OutOfMemoryError):
                self._fill(batch)
                self._gather(batch, self.predictor.run(sum(part.count for part in batch)))
                return
        except EvaluationError as error:  # the runtime failed
            for part in batch:
                part.game.missing -= part.count
                part.game.answer.error = error
            return
        self.predictor.halve()
        while batch:
            head, batch = cut(batch, self.predictor.rows)
            self._evaluate(head)

    def _fill(self, batch: list[Part]) -> None:
        """Write the images of a batch into the buffer, normalised."""
        row = 0
        xp = self.predictor.xp
        with self.predictor.profile.phase("mix"):
            for part in batch:
                images = self.predictor.buffer[row : row + part.count]
                row += part.count
                self._mix(part, images)
                limit_range(images[part.whole :], self._range, xp)
                if part.whole:
                    images[0] = part.game.whole
            if self._range != "none":
                self.predictor.inputs.normalise(self.predictor.buffer[:row])

    def _mix(self, part: Part, images: Any) -> None:
        """Mix the coalitions of a part; the row of the whole image, if any, is not defined."""
        game, coalitions, target = part.game, part.coalitions, images[part.whole :]
        if part.whole and game.order == "tree" and coalitions.size and coalitions[0] == 1:
            # A run from the empty coalition is one call a band. The whole image is written over
            # the row of the empty coalition.
            coalitions, target = np.insert(coalitions, 0, 0), images
        mix(
            game.offset, game.components, coalitions, target, self.predictor.xp,
            None if part.last else game.known, self._parallel_for, order=game.order,
        )  # fmt: skip

    def _gather(self, batch: list[Part], outputs: Any) -> None:
        """Reduce outputs to one number a row, and hand them to their games."""
        predictor = self.predictor
        with predictor.profile.phase("gather"):
            starts = np.cumsum([0, *(part.count for part in batch)]).tolist()
            self._set_predictions(batch, starts, outputs)
            labels = np.repeat(
                [part.game.answer.label for part in batch], [part.count for part in batch]
            )
            on_device = label_log_probabilities(
                outputs, predictor.output_kind, predictor.xp.asarray(labels), predictor.xp
            )
            values, floored = map(predictor.memory.to_host, on_device)
            for part, row in zip(batch, starts, strict=False):
                answer = part.game.answer
                rows = slice(row, row + part.count)
                here = slice(part.start, part.start + part.count)
                answer.values[here] = values[rows]
                answer.floored[here] = floored[rows]
                part.game.missing -= part.count
                if answer.error is None and np.isnan(values[rows]).any():
                    answer.error = self._reason(outputs[rows])

    def _set_predictions(self, batch: list[Part], starts: list[int], outputs: Any) -> None:
        """Set the predicted class of games whose whole image is in the batch."""
        wholes = [(p.game.answer, row) for p, row in zip(batch, starts, strict=False) if p.whole]
        if not wholes:
            return
        classes = outputs[[row for _, row in wholes]].argmax(axis=1)
        predictions = self.predictor.memory.to_host(classes).tolist()
        for (answer, _), predicted in zip(wholes, predictions, strict=True):
            answer.predicted = predicted
            if answer.label == -1:
                answer.label = predicted

    def _reason(self, outputs: Any) -> EvaluationError | None:
        """Why some of these outputs are no log-probabilities; None if they are."""
        try:
            log_probabilities(self.predictor.memory.to_host(outputs), self.predictor.output_kind)
        except EvaluationError as error:
            return error
        return None

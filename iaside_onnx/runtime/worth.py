"""The worth of coalitions: mix, run, log-softmax, gather."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import EvaluationError, OutOfMemoryError
from iaside_onnx.runtime.binding import Binding
from iaside_onnx.runtime.classifier import Classifier
from iaside_onnx.runtime.games import Answer, Game, Part, Table, cut
from iaside_onnx.runtime.outputs import label_log_probabilities, log_probabilities
from iaside_onnx.runtime.profile import Profile
from iaside_onnx.runtime.team import Team
from iaside_onnx.spectrum import Each, in_turn, limit_range, mix
from iaside_onnx.types import Coalitions, OutputKind, PixelRange, Worth

__all__ = ["WorthEvaluator"]


_T = TypeVar("_T")

_BLOCK_BYTES = 1 << 22
_BLOCK_ROWS = 64
_MOST_BYTES = 1 << 26


class WorthEvaluator:
    """Evaluates one classifier on an offset plus any subset of components.

    It knows nothing of images and baselines: dividing an image over a baseline and dividing a
    perturbation over the image that it damages are the same call. Games share batches, so that
    every batch but the last is full.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        image_shape: tuple[int, int, int],
        scale: NDArray[np.float32],
        shift: NDArray[np.float32],
        output_kind: OutputKind = "logits",
        pixel_range: PixelRange = "none",
        batch_size: int = 32,
        on_smaller_batch: Callable[[int], None] | None = None,
    ) -> None:
        """Allocate the buffers.

        Args:
            classifier: the model.
            image_shape: channels, height and width of an image.
            scale: ``(channels,)``; the model's input is ``scale * pixel + shift``.
            shift: ``(channels,)``.
            output_kind: what the model's outputs are; may be set later as an attribute, once
                `raw_outputs` of a few images have told.
            pixel_range: what is done to a filtered image that leaves [0, 1].
            batch_size: images a call; a model with a static batch has its own way.
            on_smaller_batch: is told the new size when memory runs out and the batch is halved.

        Raises:
            OutOfMemoryError: if not even one image fits into memory.
        """
        self._classifier = classifier
        self._memory = classifier.memory
        self.xp = classifier.memory.xp
        self.output_kind: OutputKind = output_kind
        self._range: PixelRange = pixel_range
        self._last = classifier.signature.layout == "NHWC"
        axes = (1, 1, -1) if self._last else (-1, 1, 1)
        self._scale = self.xp.asarray(scale, dtype=np.float32).reshape(axes)
        self._shift = self.xp.asarray(shift, dtype=np.float32).reshape(axes)
        channels, height, width = image_shape
        self._shape = (height, width, channels) if self._last else (channels, height, width)
        # A GPU has threads of its own.
        on_host = self.xp is np
        self.each: Each = Team(classifier.execution.threads) if on_host else in_turn
        self.profile = Profile()
        self.on_smaller_batch = on_smaller_batch
        self._binding: Binding | None = None
        self._mixed: Any = None
        self.resize(classifier.signature.batch or batch_size)

    def resize(self, batch_size: int) -> None:
        """Take another batch size; halved until the buffers fit into memory.

        Raises:
            OutOfMemoryError: if not even one image fits.
        """
        self.batch_size = batch_size
        image = 4 * int(np.prod(self._shape))
        # Several batches are mixed and gathered together: all that a small image's calls cost is
        # their number, and components are read from memory once a block. On a GPU, where CUDA
        # graphs hold addresses, each batch is in the same place.
        wanted = min(max(_BLOCK_BYTES // image, _BLOCK_ROWS), max(_MOST_BYTES // image, 1))
        together = 1 if self._memory.device[0] == "cuda" else wanted // batch_size
        self._rows = batch_size * max(together, 1)
        again = self._binding is not None
        self._binding = self._mixed = None  # lets go of the old buffers first
        self._memory.release()
        if again:
            self._classifier.shrink((self._classifier.signature.batch or 1, *self._shape))
        try:
            self._allocate()
        except MemoryError:
            self._binding = self._mixed = None
        if self._mixed is None:
            self._halve()

    def _allocate(self) -> None:
        shape = (self._rows, *self._shape)
        self._binding = Binding(self._classifier, self.batch_size, shape)
        if self._classifier.signature.dtype == np.float32:
            self._mixed = self._binding.inputs
        else:
            self._mixed = self._memory.zeros(shape, np.float32)

    def _halve(self) -> None:
        """Take half of the batch, or give up.

        Not to be called while an exception is handled: its frames hold on to the buffers.
        """
        if self.batch_size == 1 or self._classifier.signature.batch is not None:
            raise OutOfMemoryError(
                f"a batch of {self.batch_size} images of {' x '.join(map(str, self._shape))} does "
                "not fit into memory, and no smaller one is possible"
            )
        smaller = self.batch_size // 2
        if self.on_smaller_batch is not None:
            self.on_smaller_batch(smaller)
        self.resize(smaller)

    def spared(self, make: Callable[[], _T]) -> _T:
        """What ``make`` gives, tried once more with all memory given back if it runs out.

        Raises:
            OutOfMemoryError: if it runs out again.
        """
        with suppress(MemoryError):
            return make()
        self._memory.release()
        try:
            return make()
        except MemoryError as error:
            raise OutOfMemoryError(
                "memory ran out while an image was filtered; take a smaller --batch-size"
            ) from error

    @property
    def component_scale(self) -> Any:
        """What components are multiplied by, ``(channels, 1, 1)``; None where images are instead.

        The transform is linear: an image that is scaled before it is divided spares all of its
        components the same.
        """
        return self._scale.reshape(-1, 1, 1) if self._range == "none" else None

    @property
    def image_bytes(self) -> int:
        """Size of one image as the model takes it."""
        return int(np.prod(self._shape)) * self._classifier.signature.dtype.itemsize

    def run_buffer(self) -> None:
        """Run the model once on a batch of whatever the buffer holds, to see how long it takes."""
        with suppress(MemoryError, OutOfMemoryError):
            self._run(self.batch_size)
            self._memory.synchronize()
            return
        self._halve()

    def raw_outputs(self, images: NDArray[np.float32]) -> NDArray[Any]:
        """The model's own outputs, ``(n, classes)``, for whole images, ``(n, C, H, W)`` pixels."""
        outputs = []
        start = 0
        while start < len(images):
            part = images[start : start + self._rows]
            with suppress(MemoryError, OutOfMemoryError):
                self._mixed[: len(part)] = self._to_layout(self.xp.asarray(part))
                self._normalise(self._mixed[: len(part)])
                outputs.append(np.array(self._memory.to_host(self._run(len(part)))))
                start += len(part)
                continue
            self._halve()
        return np.concatenate(outputs)

    def worth(
        self, offset: Any, components: Any, coalitions: Coalitions, label: int
    ) -> tuple[Worth, int]:
        """Log-probability of the label for the image of each coalition.

        Args:
            offset: ``(C, H, W)``, in pixel units.
            components: ``(bands, C, H, W)``, in pixel units.
            coalitions: ``(n,)`` bit masks.
            label: class index.

        Returns:
            Worths, ``(n,)`` float32 in nats, and how many were raised to the smallest probability
            that the output's type can hold.

        Raises:
            EvaluationError: if the model gives a NaN or an infinity for a coalition.
        """
        (answer,) = self.evaluate([Game(offset, components, coalitions, label=label)])
        if answer.error is not None:
            raise answer.error
        return answer.values.astype(np.float32), int(answer.raised.sum())

    def evaluate(self, games: Iterable[Game]) -> Iterator[Answer]:
        """Evaluate games one after the other, as many in a batch as fit, and give them in order.

        Games are taken as they are needed: no more of them are held than a batch touches.

        Raises:
            OutOfMemoryError: if memory runs out for a batch of a single image.
        """
        waiting: deque[Table] = deque()
        parts: list[Part] = []
        rows = 0
        for game in games:
            table = self.spared(partial(self._open, game))
            waiting.append(table)
            parts.append(Part(table, 0, table.missing))
            rows += table.missing
            while rows >= self._rows:
                rows -= self._rows
                block, parts = cut(parts, self._rows)
                self._evaluate(block)
            while waiting and waiting[0].missing == 0:
                yield waiting.popleft().answer
        if parts:
            self._evaluate(parts)
        yield from (table.answer for table in waiting)

    def _open(self, game: Game) -> Table:
        rows = game.coalitions.size + (game.whole is not None)
        label = -1 if game.label is None else game.label
        answer = Answer(label, -1, np.full(rows, np.nan), np.zeros(rows, dtype=bool))
        offset, components = self._to_layout(game.offset), self._to_layout(game.components)
        whole = None if game.whole is None else self._to_layout(game.whole)
        if self._range == "none":
            # Normalisation is affine and mixing linear: normalise M + 2 images, not 2**M.
            offset = offset * self._scale + self._shift
            components = components if game.scaled else components * self._scale
            whole = None if whole is None else whole * self._scale + self._shift
        return Table(offset, components, game.coalitions, whole, answer, rows, game.chained)

    def _evaluate(self, batch: list[Part]) -> None:
        """Evaluate a batch, in smaller ones if it does not fit into memory."""
        try:
            with suppress(MemoryError, OutOfMemoryError):
                self._fill(batch)
                self._gather(batch, self._run(sum(part.count for part in batch)))
                return
        except EvaluationError as error:  # the runtime failed
            for part in batch:
                part.table.missing -= part.count
                part.table.answer.error = error
            return
        self._halve()
        while batch:
            head, batch = cut(batch, self._rows)
            self._evaluate(head)

    def _fill(self, batch: list[Part]) -> None:
        """Write the images of a batch into the buffer, normalised."""
        row = 0
        with self.profile.phase("mix"):
            for part in batch:
                table, images = part.table, self._mixed[row : row + part.count]
                row += part.count
                coalitions = part.coalitions
                last = part.start + part.count == table.answer.values.size
                known = None if last else table.known
                if part.whole and coalitions.size and coalitions[0] == 1 and not table.chained:
                    # A run from the empty coalition is one call a band; the whole image goes over
                    # that row, which is not asked for.
                    coalitions = np.insert(coalitions, 0, 0)
                    target = images
                else:
                    target = images[part.whole :]
                mix(
                    table.offset, table.components, coalitions, target, self.xp, known, self.each,
                    chained=table.chained,
                )  # fmt: skip
                limit_range(images[part.whole :], self._range, self.xp)
                if part.whole:
                    images[0] = table.whole
            if self._range != "none":
                self._normalise(self._mixed[:row])

    def _gather(self, batch: list[Part], outputs: Any) -> None:
        """Reduce outputs to one number a row, and hand them to their games."""
        with self.profile.phase("gather"):
            starts = np.cumsum([0, *(part.count for part in batch)]).tolist()
            self._predict(batch, starts, outputs)
            labels = np.repeat(
                [part.table.answer.label for part in batch], [part.count for part in batch]
            )
            on_device = label_log_probabilities(
                outputs, self.output_kind, self.xp.asarray(labels), self.xp
            )
            values, raised = map(self._memory.to_host, on_device)
            for part, row in zip(batch, starts, strict=False):
                answer = part.table.answer
                rows = slice(row, row + part.count)
                here = slice(part.start, part.start + part.count)
                answer.values[here] = values[rows]
                answer.raised[here] = raised[rows]
                part.table.missing -= part.count
                if answer.error is None and np.isnan(values[rows]).any():
                    answer.error = self._reason(outputs[rows])

    def _predict(self, batch: list[Part], starts: list[int], outputs: Any) -> None:
        """The model's own answers on the whole images in a batch."""
        wholes = [(p.table.answer, row) for p, row in zip(batch, starts, strict=False) if p.whole]
        if not wholes:
            return
        answers = self._memory.to_host(outputs[[row for _, row in wholes]].argmax(axis=1))
        for (answer, _), predicted in zip(wholes, answers.tolist(), strict=True):
            answer.predicted = predicted
            if answer.label == -1:
                answer.label = predicted

    def _reason(self, outputs: Any) -> EvaluationError | None:
        """Why some of these outputs are no log-probabilities, in words."""
        try:
            log_probabilities(self._memory.to_host(outputs), self.output_kind)
        except EvaluationError as error:
            return error
        return None

    def _to_layout(self, images: Any) -> Any:
        return self.xp.ascontiguousarray(self.xp.moveaxis(images, -3, -1)) if self._last else images

    def _normalise(self, images: Any) -> None:
        images *= self._scale
        images += self._shift

    def _run(self, count: int) -> Any:
        """Run the model on the first ``count`` rows of the buffer."""
        binding = self._binding
        assert binding is not None  # noqa: S101  # for the checker: None only while resizing
        if self._mixed is not binding.inputs:
            with self.profile.phase("mix"):
                images = self._mixed[:count]
                if binding.inputs.dtype == np.uint8:
                    self.xp.clip(self.xp.rint(images, out=images), 0, 255, out=images)
                binding.inputs[:count] = images
        with self.profile.phase("model"):
            return binding.run(count)

"""From pixels to a model's outputs and log-probabilities, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import OptionError, OutOfMemoryError
from iaside_onnx.runtime.binding import Binding
from iaside_onnx.runtime.classifier import Classifier
from iaside_onnx.runtime.inputs import InputTransform
from iaside_onnx.runtime.outputs import log_probabilities
from iaside_onnx.runtime.profile import Profile
from iaside_onnx.types import OutputKind

__all__ = ["Predictor"]

_BLOCK_BYTES = 1 << 22
_MIN_BLOCK_ROWS = 64
_MAX_BLOCK_BYTES = 1 << 26


class Predictor:
    """One classifier as a function of pixels.

    It owns the buffer that images are written to, the batch size, and its reduction when memory
    runs out. `WorthEvaluator` writes mixed images into the same buffer.

    Attributes:
        classifier: the model.
        memory: where its buffers are.
        xp: the array module of that memory, NumPy or CuPy.
        image_shape: channels, height and width of an image.
        inputs: how pixels become the model's input.
        output_kind: what the model's outputs are; may be set once `outputs` of a few images are
            known.
        batch_size: images per call of the model.
        rows: images that the buffer holds, a multiple of the batch size.
        buffer: ``(rows, ...)`` float32 in the model's layout; normalised images for `run`. It is
            replaced when the batch size changes.
        on_smaller_batch: is called with the new size when memory runs out and the batch is halved.
        profile: time spent in each phase.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        image_shape: tuple[int, int, int],
        scale: NDArray[np.float32],
        shift: NDArray[np.float32],
        output_kind: OutputKind = "logits",
        batch_size: int = 32,
        on_smaller_batch: Callable[[int], None] | None = None,
    ) -> None:
        """Allocate the buffers.

        Args:
            classifier: the model.
            image_shape: channels, height and width of an image.
            scale: ``(channels,)``; the model's input is ``scale * pixel + shift``.
            shift: ``(channels,)``.
            output_kind: what the model's outputs are.
            batch_size: images per call; ignored for a model with a static batch.
            on_smaller_batch: is called with the new size when memory runs out and the batch is
                halved.

        Raises:
            OutOfMemoryError: if not even one image fits into memory.
        """
        signature = classifier.signature
        self.classifier = classifier
        self.memory = classifier.memory
        self.xp = classifier.memory.xp
        self.image_shape = image_shape
        self.inputs = InputTransform(
            self.xp.asarray(scale, dtype=np.float32),
            self.xp.asarray(shift, dtype=np.float32),
            signature.layout,
            signature.dtype,
            self.xp,
        )
        self.output_kind: OutputKind = output_kind
        self.on_smaller_batch = on_smaller_batch
        self.profile = Profile()
        self._shape = self.inputs.image_shape(image_shape)
        self._binding: Binding | None = None
        self.buffer: Any = None
        self.resize(signature.batch or batch_size)

    @property
    def image_bytes(self) -> int:
        """Size of one image as the model takes it."""
        return int(np.prod(self._shape)) * self.inputs.dtype.itemsize

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
        """Log-probabilities alone, see `log_probabilities`."""
        return self.log_probabilities(pixels)[0]

    def log_probabilities(
        self, pixels: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Log-probabilities of the classes, in nats.

        Args:
            pixels: ``(n, channels, height, width)`` in [0, 1], any n from 1; unchanged.

        Returns:
            Log-probabilities, ``(n, classes)``, and where they were floored at the smallest normal
            number of the output's type, likewise.

        Raises:
            EvaluationError: if the runtime fails, or an output is not what ``output_kind`` says.
            ModelError: if the output is not one row of classes for each image.
            OptionError: if the pixels have another shape.
            OutOfMemoryError: if memory runs out for a batch of a single image.
        """
        return log_probabilities(self.outputs(pixels), self.output_kind)

    def outputs(self, pixels: NDArray[np.float32]) -> NDArray[Any]:
        """The model's raw outputs, ``(n, classes)``.

        Args:
            pixels: ``(n, channels, height, width)`` in [0, 1], any n from 1; unchanged.

        Raises:
            EvaluationError: if the runtime fails.
            ModelError: if the output is not one row of classes for each image.
            OptionError: if the pixels have another shape.
            OutOfMemoryError: if memory runs out for a batch of a single image.
        """
        if len(pixels) == 0 or pixels.shape[1:] != self.image_shape:
            raise OptionError(
                f"pixels have the shape {pixels.shape}, where (n, "
                f"{', '.join(map(str, self.image_shape))}) with at least one image was expected"
            )
        outputs = []
        start = 0
        while start < len(pixels):
            part = pixels[start : start + self.rows]
            with suppress(MemoryError, OutOfMemoryError):
                outputs.append(self._block_outputs(part))
                start += len(part)
                continue
            self.halve()
        return np.concatenate(outputs)

    def _block_outputs(self, pixels: NDArray[np.float32]) -> NDArray[Any]:
        """Raw outputs of as many images as the buffer holds; no reference to it remains."""
        images = self.buffer[: len(pixels)]
        images[...] = self.inputs.to_layout(self.xp.asarray(pixels))
        self.inputs.normalise(images)
        return np.array(self.memory.to_host(self.run(len(pixels))))

    def run(self, count: int) -> Any:
        """Run the model on the first ``count`` rows of the buffer.

        Returns:
            Raw outputs, ``(count, classes)``, in the model's memory; overwritten by the next run.

        Raises:
            EvaluationError: if the runtime fails.
            ModelError: if the output is not one row of classes for each image.
            MemoryError: if memory runs out.
            OutOfMemoryError: if memory runs out within the runtime.
        """
        binding = self._binding
        assert binding is not None  # noqa: S101  # for the checker: None only while resizing
        if self.buffer is not binding.inputs:
            with self.profile.phase("mix"):
                self.inputs.cast_into(self.buffer[:count], binding.inputs[:count])
        with self.profile.phase("model"):
            return binding.run(count)

    def run_buffer(self) -> None:
        """Run the model once on a batch of whatever the buffer holds, to measure its time."""
        with suppress(MemoryError, OutOfMemoryError):
            self.run(self.batch_size)
            self.memory.synchronize()
            return
        self.halve()

    def resize(self, batch_size: int) -> None:
        """Change the batch size; it is halved until the buffers fit into memory.

        Raises:
            OutOfMemoryError: if not even one image fits.
        """
        self.batch_size = batch_size
        image = 4 * int(np.prod(self._shape))
        # Several batches are mixed and gathered together: for small images the number of calls is
        # the cost, and components are read from memory once per block. On a GPU, where CUDA graphs
        # hold addresses, each batch is at the same place.
        wanted = min(max(_BLOCK_BYTES // image, _MIN_BLOCK_ROWS), max(_MAX_BLOCK_BYTES // image, 1))
        together = 1 if self.memory.device[0] == "cuda" else wanted // batch_size
        self.rows = batch_size * max(together, 1)
        again = self._binding is not None
        self._binding = self.buffer = None  # frees the old buffers first
        self.memory.release()
        if again:
            self.classifier.shrink((self.classifier.signature.batch or 1, *self._shape))
        try:
            self._allocate()
        except MemoryError:
            self._binding = self.buffer = None
        if self.buffer is None:
            self.halve()

    def halve(self) -> None:
        """Halve the batch size.

        Not to be called while an exception is handled: its frames keep the buffers alive.

        Raises:
            OutOfMemoryError: if the batch cannot be smaller.
        """
        if self.batch_size == 1 or self.classifier.signature.batch is not None:
            raise OutOfMemoryError(
                f"a batch of {self.batch_size} images of {' x '.join(map(str, self._shape))} does "
                "not fit into memory, and no smaller one is possible"
            )
        smaller = self.batch_size // 2
        if self.on_smaller_batch is not None:
            self.on_smaller_batch(smaller)
        self.resize(smaller)

    def _allocate(self) -> None:
        shape = (self.rows, *self._shape)
        self._binding = Binding(self.classifier, self.batch_size, shape)
        if self.inputs.dtype == np.float32:
            self.buffer = self._binding.inputs
        else:
            self.buffer = self.memory.zeros(shape, np.float32)

"""The worth of coalitions: mix, run, log-softmax, gather."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import OptionError
from iaside_onnx.runtime.classifier import Classifier
from iaside_onnx.runtime.outputs import label_log_probabilities
from iaside_onnx.spectrum import limit_range, mix
from iaside_onnx.types import Coalitions, Components, OutputKind, PixelRange, Pixels, Worth

__all__ = ["WorthEvaluator"]


class WorthEvaluator:
    """Evaluates one classifier on an offset plus any subset of components.

    It knows nothing of images and baselines: dividing an image over a baseline and dividing a
    perturbation over the image that it damages are the same call.
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
        """
        self._classifier = classifier
        self.output_kind: OutputKind = output_kind
        self._range: PixelRange = pixel_range
        self._last = classifier.signature.layout == "NHWC"
        axes = (1, 1, -1) if self._last else (-1, 1, 1)
        self._scale = np.asarray(scale, dtype=np.float32).reshape(axes)
        self._shift = np.asarray(shift, dtype=np.float32).reshape(axes)
        self.batch_size = classifier.signature.batch or batch_size
        channels, height, width = image_shape
        shape = (height, width, channels) if self._last else (channels, height, width)
        dtype = classifier.signature.dtype
        try:
            self._mixed = np.zeros((self.batch_size, *shape), dtype=np.float32)
            self._cast = None if dtype == np.float32 else np.zeros(self._mixed.shape, dtype=dtype)
        except MemoryError as error:
            raise OptionError(
                f"a batch of {self.batch_size} images of {' x '.join(map(str, image_shape))} does "
                "not fit into memory; take a smaller --batch-size"
            ) from error

    def raw_outputs(self, images: NDArray[np.float32]) -> NDArray[Any]:
        """The model's own outputs, ``(n, classes)``, for whole images, ``(n, C, H, W)`` pixels."""
        images = self._to_layout(images)
        outputs = []
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            self._mixed[: len(part)] = part
            self._normalise(self._mixed[: len(part)])
            outputs.append(self._run(len(part)))
        return np.concatenate(outputs)

    def worth(
        self, offset: Pixels, components: Components, coalitions: Coalitions, label: int
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
        offset, components = self._to_layout(offset), self._to_layout(components)
        if self._range == "none":
            # Normalisation is affine and mixing linear: normalise M + 1 images, not 2**M.
            offset = offset * self._scale + self._shift
            components = components * self._scale
        worth = np.empty(coalitions.size, dtype=np.float32)
        raised = 0
        for start in range(0, coalitions.size, self.batch_size):
            part = coalitions[start : start + self.batch_size]
            mixed = self._mixed[: part.size]
            mix(offset, components, part, mixed)
            if self._range != "none":
                limit_range(mixed, self._range)
                self._normalise(mixed)
            outputs = self._run(part.size)
            values, floored = label_log_probabilities(outputs, self.output_kind, label)
            worth[start : start + part.size] = values
            raised += int(floored.sum())
        return worth, raised

    def _to_layout(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ascontiguousarray(np.moveaxis(images, -3, -1)) if self._last else images

    def _normalise(self, images: NDArray[np.float32]) -> None:
        images *= self._scale
        images += self._shift

    def _run(self, count: int) -> NDArray[Any]:
        """Run the model on the first ``count`` rows of the buffer, or all if it must."""
        # The rows past the count are left over from earlier batches: valid images, not looked at.
        size = self.batch_size if self._classifier.signature.batch else count
        inputs: NDArray[Any] = self._mixed[:size]
        if self._cast is not None:
            if self._cast.dtype == np.uint8:
                np.clip(np.rint(inputs, out=inputs), 0, 255, out=inputs)
            self._cast[:size] = inputs
            inputs = self._cast[:size]
        return self._classifier.run(inputs)[:count]

"""A session's input and output, bound to fixed buffers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from iaside_onnx.runtime.classifier import Classifier
from iaside_onnx.runtime.session import import_runtime, runtime_errors

__all__ = ["Binding"]

_GRAPH_IDS = itertools.count(1)


class Binding:
    """Runs a classifier from an input buffer into an output buffer, batch by batch, without a copy.

    Attributes:
        inputs: ``(rows, ...)``, what the model reads, in its own type and layout.
        outputs: ``(rows, columns)``, what it writes, in its own type; None before the first run,
            which gives the shape of an output, as not every graph declares it.
    """

    def __init__(self, classifier: Classifier, batch_size: int, shape: tuple[int, ...]) -> None:
        """Allocate the input.

        Args:
            classifier: the model.
            batch_size: images per call.
            shape: rows, a multiple of the batch size, and the shape of one image in the model's
                layout.

        Raises:
            MemoryError: if memory runs out.
        """
        self._classifier = classifier
        self._batch = batch_size
        self._bound: dict[tuple[int, int], Any] = {}
        # CUDA graphs record addresses: one of earlier buffers must not be replayed on these.
        self._options = import_runtime().RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(next(_GRAPH_IDS)))
        self.inputs = classifier.memory.zeros(shape, classifier.signature.dtype)
        self.outputs: Any = None
        # Shape of the output of one image; None if there is no axis for the batch.
        self._item: tuple[int, ...] | None = None
        # ONNX Runtime refuses a buffer of other than the declared shape, but not such an output.
        self._declared = classifier.signature.output_batch

    def run(self, count: int) -> Any:
        """Scores of the first ``count`` rows, ``(count, classes)``, until the next run.

        Raises:
            EvaluationError: if the runtime fails.
            OutOfMemoryError: if memory runs out.
            ModelError: if the output is not one row of classes for each image.
        """
        memory = self._classifier.memory
        fixed = self._classifier.fixed_batch
        run = self._classifier.execution.session.run_with_iobinding
        for start in range(0, count, self._batch):
            # Rows past the count hold images of earlier runs: valid inputs of unused outputs.
            rows = self._batch if fixed else min(self._batch, count - start)
            if self.outputs is None:
                first = self._classifier.run_raw(memory.to_host(self.inputs[:rows]))
                self._item = first.shape[1:] if first.shape[:1] == (rows,) else None
                shape = (len(self.inputs), first.size // rows)
                self.outputs = memory.zeros(shape, first.dtype)
            if (start, rows) not in self._bound:
                self._bound[start, rows] = self._bind(start, rows)
            memory.synchronize()
            with runtime_errors(f"on a batch of {rows}"):
                run(self._bound[start, rows], self._options)
            if not self._is_bound(rows):
                # An output is bound to the buffer that it was given, and refused in the next run.
                (made,) = self._bound.pop((start, rows)).get_outputs()
                raw = memory.xp.asarray(made.numpy())
                self.outputs[start : start + rows] = raw.reshape(rows, -1)
        return self._classifier.scores.of(self.outputs[:count], memory.xp)

    def _is_bound(self, rows: int) -> bool:
        """Whether the model writes into our buffer, and not into one that the runtime allocates."""
        return self._declared is None or self._declared == rows

    def _bind(self, start: int, rows: int) -> Any:
        memory, signature = self._classifier.memory, self._classifier.signature
        bound = self._classifier.execution.session.io_binding()
        inputs, outputs = (buffer[start : start + rows] for buffer in (self.inputs, self.outputs))
        # The buffers are contiguous, so another shape is only another view.
        output_shape = outputs.shape[1:] if self._item is None else (rows, *self._item)
        buffers = [
            (bound.bind_input, signature.input_name, inputs, signature.input_shape(inputs.shape))
        ]
        if self._is_bound(rows):
            buffers.append((bound.bind_output, signature.output_name, outputs, output_shape))
        else:
            bound.bind_output(signature.output_name, *memory.device)
        for bind, name, array, shape in buffers:
            bind(name, *memory.device, np.dtype(array.dtype).type, shape, memory.pointer(array))
        return bound

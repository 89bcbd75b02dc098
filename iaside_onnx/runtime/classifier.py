"""An ONNX model as an image classifier: its signature, and how it is run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ModelError
from iaside_onnx.runtime.graph import GraphFacts
from iaside_onnx.runtime.loading import source_of
from iaside_onnx.runtime.memory import CudaMemory, HostMemory, Memory
from iaside_onnx.runtime.operators import Operators
from iaside_onnx.runtime.scores import Scores, single_kind
from iaside_onnx.runtime.session import (
    Execution,
    SessionWords,
    import_runtime,
    open_session,
    runtime_errors,
)
from iaside_onnx.runtime.signature import Signature, read_signature
from iaside_onnx.types import Layout, OutputKind

__all__ = ["Classifier", "load_classifier"]


class Classifier:
    """A loaded model: facts, signature, session, and the memory of its buffers."""

    def __init__(
        self,
        facts: GraphFacts,
        signature: Signature,
        execution: Execution,
        memory: Memory | None = None,
        scores: Scores | None = None,
    ) -> None:
        self.facts = facts
        self.signature = signature
        self.execution = execution
        self.memory: Memory = HostMemory() if memory is None else memory
        self.scores = scores or Scores(str(facts.path), signature.output_name)
        self._columns = 0

    @property
    def fixed_batch(self) -> bool:
        """Whether all runs should have the same batch size, by the graph or because of CUDA.

        cuDNN searches for algorithms at each new shape, and a CUDA graph is recorded for one shape.
        """
        return self.signature.batch is not None or self.memory.device[0] == "cuda"

    @property
    def operators(self) -> Operators:
        """What the operators before the output say of it."""
        return self.facts.operators.get(self.signature.output_name, Operators())

    def fix_batch(self, size: int) -> None:
        """Give every call this many images, as if the graph fixed it."""
        self.signature = replace(self.signature, batch=size)

    @property
    def notes(self) -> list[str]:
        """What of inputs and outputs is read in an unusual way, in words; after the first run."""
        return [*self.signature.notes, *filter(None, [self.scores.note(self._columns)])]

    def shrink(self, shape: tuple[int, ...]) -> None:
        """Make ONNX Runtime free the memory that it holds for larger batches than this.

        Args:
            shape: of a batch in the model's layout, which is run once.
        """
        kind, index = self.memory.device
        options = import_runtime().RunOptions()
        arenas = "cpu:0" if kind == "cpu" else f"cpu:0;gpu:{index}"
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", arenas)
        options.add_run_config_entry("gpu_graph_id", "-1")
        zeros = np.zeros(self.signature.input_shape(shape), dtype=self.signature.dtype)
        # Best effort: later runs report the error.
        with suppress(Exception):
            self.execution.session.run(
                [self.signature.output_name], {self.signature.input_name: zeros}, options
            )

    def run(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Scores, ``(n, classes)``, of a batch of inputs in the model's type and layout.

        A model with a static batch takes exactly that many images.

        Raises:
            EvaluationError: if the runtime fails.
            OutOfMemoryError: if the batch does not fit into the device's memory.
            ModelError: if the output is not one row of classes for each input.
        """
        raw = self.run_raw(inputs)
        return np.asarray(self.scores.of(raw.reshape(len(inputs), self._columns)))

    def run_raw(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """The output itself, in the shape and type that the model gives it; see `run`."""
        name = self.signature.output_name
        session = self.execution.session
        options = import_runtime().RunOptions()
        # Temporary arrays must not be recorded in a CUDA graph; other providers ignore this.
        options.add_run_config_entry("gpu_graph_id", "-1")
        shaped = inputs.reshape(self.signature.input_shape(inputs.shape))
        with runtime_errors(f"on {inputs.shape}"):
            (output,) = session.run([name], {self.signature.input_name: shaped}, options)
        raw = np.asarray(output)
        self._columns = self.scores.columns(raw.shape, len(inputs))
        return raw


def load_classifier(
    facts: GraphFacts,
    *,
    output: str | None = None,
    input_size: tuple[int, int, int] | None = None,
    input_layout: Layout | None = None,
    output_kind: Literal["auto"] | OutputKind = "auto",
    device: str = "auto",
    provider: str | None = None,
    threads: int | None = None,
    **session_options: Unpack[SessionWords],
) -> Classifier:
    """Load a model and determine its signature.

    Args:
        facts: of the file, from `iaside_onnx.runtime.read_graph`.
        output: name of the output that holds the classes, if there are several.
        input_size: channels, height and width after preprocessing, if known; decides the layout
            where the graph leaves it open.
        input_layout: where the channels are, if the user says so.
        output_kind: what the output is, if the user says so; matters here only for a model that
            gives one number for each image.
        device: see `iaside_onnx.runtime.open_session`.
        provider: an execution provider by name, instead of a device.
        threads: threads on the CPU; by default all cores of the process.
        **session_options: see `iaside_onnx.runtime.open_session`.

    Raises:
        ModelError: if the model is not an image classifier that can be audited.
        OptionError: if the device or the session options cannot be used together.
        RuntimeMissingError: if the runtime, the provider or CuPy is missing.
    """
    source = source_of(facts)
    execution = open_session(
        facts.path, device, provider, threads, source=source, **session_options
    )
    # The model that runs must be the model that was hashed, or the archive names another one.
    changed = facts.changed()
    if changed is not None:
        raise ModelError(f"{changed}: changed while it was read; run the same command again")
    signature = read_signature(facts, execution.session, output, input_size, input_layout)
    kind, _, index = execution.device.partition(":")
    # Any provider given by name uses buffers in host memory.
    on_gpu = kind == "cuda" and provider is None
    memory = CudaMemory(int(index)) if on_gpu else HostMemory()
    name, hint = signature.output_name, signature.output_hint
    scores = Scores(
        str(facts.path), name, hint, single_kind(output_kind, hint), facts.quantised.get(name)
    )
    return Classifier(facts, signature, execution, memory, scores)

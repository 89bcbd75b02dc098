"""An ONNX model as an image classifier: its signature, and how it is run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ModelError
from iaside_onnx.runtime.graph import GraphFacts
from iaside_onnx.runtime.memory import CudaMemory, HostMemory, Memory
from iaside_onnx.runtime.operators import Operators
from iaside_onnx.runtime.session import (
    Execution,
    SessionWords,
    import_runtime,
    open_session,
    runtime_errors,
)
from iaside_onnx.types import Layout, OutputKind

__all__ = ["Classifier", "Signature", "load_classifier"]

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
_FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)", "tensor(bfloat16)"}
_CHANNELS = (1, 3)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a classifier takes and gives.

    Attributes:
        input_name: name of the one input.
        dtype: NumPy type of the input.
        layout: where the channels are.
        channels: 1 or 3.
        height: rows; None if dynamic.
        width: columns; None if dynamic.
        batch: images per call, if the graph fixes it; None if dynamic.
        output_name: name of the output with the classes.
        classes: number of classes; None if the graph does not declare it.
        output_hint: the kind of the output by the end of the graph; None if it does not tell.
        output_batch: rows of the output, if the graph declares them; wrong where it was exported
            with an example of another batch.
    """

    input_name: str
    dtype: np.dtype[Any]
    layout: Layout
    channels: int
    height: int | None
    width: int | None
    batch: int | None
    output_name: str
    classes: int | None
    output_hint: OutputKind | None
    output_batch: int | None = None

    @property
    def takes(self) -> str:
        """The input in words, for people."""
        size = f"{self.height or 'any'} x {self.width or 'any'}"
        batch = "any batch" if self.batch is None else f"batches of {self.batch}"
        return f"{self.layout} {self.dtype} {size}, {self.channels} channel(s), {batch}"


class Classifier:
    """A loaded model: facts, signature, session, and the memory of its buffers."""

    def __init__(
        self,
        facts: GraphFacts,
        signature: Signature,
        execution: Execution,
        memory: Memory | None = None,
    ) -> None:
        self.facts = facts
        self.signature = signature
        self.execution = execution
        self.memory: Memory = HostMemory() if memory is None else memory

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
        zeros = np.zeros(shape, dtype=self.signature.dtype)
        # Best effort: later runs report the error.
        with suppress(Exception):
            self.execution.session.run(
                [self.signature.output_name], {self.signature.input_name: zeros}, options
            )

    def run(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Raw outputs, ``(n, classes)``, of a batch of inputs in the model's type and layout.

        A model with a static batch takes exactly that many images.

        Raises:
            EvaluationError: if the runtime fails.
            OutOfMemoryError: if the batch does not fit into the device's memory.
            ModelError: if the output is not one row of at least two classes for each input.
        """
        name = self.signature.output_name
        session = self.execution.session
        options = import_runtime().RunOptions()
        # Temporary arrays must not be recorded in a CUDA graph; other providers ignore this.
        options.add_run_config_entry("gpu_graph_id", "-1")
        with runtime_errors(f"on {inputs.shape}"):
            (output,) = session.run([name], {self.signature.input_name: inputs}, options)
        if output.ndim != 2 or output.shape[0] != len(inputs) or output.shape[1] < 2:
            raise ModelError(
                f"{self.facts.path}: for {len(inputs)} images the output {name!r} has the shape "
                f"{output.shape}, where ({len(inputs)}, classes) with at least 2 classes was "
                "expected; choose another with --output-name, or export a classifier"
            )
        return np.asarray(output)


def load_classifier(
    facts: GraphFacts,
    *,
    output: str | None = None,
    input_size: tuple[int, int, int] | None = None,
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
        device: see `iaside_onnx.runtime.open_session`.
        provider: an execution provider by name, instead of a device.
        threads: threads on the CPU; by default all cores of the process.
        **session_options: see `iaside_onnx.runtime.open_session`.

    Raises:
        ModelError: if the model is not an image classifier that can be audited.
        OptionError: if the device or the session options cannot be used together.
        RuntimeMissingError: if the runtime, the provider or CuPy is missing.
    """
    execution = open_session(facts.path, device, provider, threads, **session_options)
    # The model that runs must be the model that was hashed, or the archive names another one.
    changed = facts.changed()
    if changed is not None:
        raise ModelError(f"{changed}: changed while it was read; run the same command again")
    signature = _signature(facts, execution.session, output, input_size)
    kind, _, index = execution.device.partition(":")
    # Any provider given by name uses buffers in host memory.
    on_gpu = kind == "cuda" and provider is None
    memory = CudaMemory(int(index)) if on_gpu else HostMemory()
    return Classifier(facts, signature, execution, memory)


def _signature(
    facts: GraphFacts,
    session: Any,
    output: str | None,
    input_size: tuple[int, int, int] | None,
) -> Signature:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(repr(i.name) for i in inputs)
        raise ModelError(
            f"{facts.path}: has {len(inputs)} inputs ({names}), where one image input was "
            "expected; export the model with the others fixed"
        )
    (image,) = inputs
    if image.type not in _DTYPES:
        raise ModelError(
            f"{facts.path}: its input {image.name!r} is a {image.type}, where float32, float16, "
            "float64 or uint8 was expected; export it with one of these"
        )
    dims = [d if isinstance(d, int) and d > 0 else None for d in image.shape]
    layout = _layout(facts, dims, image.shape, input_size)
    first = 1 if layout == "NCHW" else 3
    rows = 2 if layout == "NCHW" else 1
    channels = dims[first] or (input_size[0] if input_size else None)
    if channels is None:
        raise ModelError(
            f"{facts.path}: leaves open how many channels it takes; give --input-size C,H,W, such "
            "as 1,28,28 or 3,224,224, or a preprocessing spec with input_size"
        )
    chosen = _choose_output(facts, session.get_outputs(), output)
    classes = chosen.shape[1] if len(chosen.shape) == 2 else None
    return Signature(
        input_name=image.name,
        dtype=np.dtype(_DTYPES[image.type]),
        layout=layout,
        channels=channels,
        height=dims[rows],
        width=dims[rows + 1],
        batch=dims[0],
        output_name=chosen.name,
        classes=classes if isinstance(classes, int) else None,
        output_hint=facts.output_hints.get(chosen.name),
        output_batch=next((d for d in chosen.shape[:1] if isinstance(d, int) and d > 0), None),
    )


def _layout(
    facts: GraphFacts,
    dims: Sequence[int | None],
    shape: Sequence[object],
    input_size: tuple[int, int, int] | None,
) -> Layout:
    if len(dims) != 4:
        raise ModelError(
            f"{facts.path}: its input has the shape {list(shape)}, where four axes, (batch, "
            "channels, height, width) or (batch, height, width, channels), were expected; wrap "
            "the model so that it takes images"
        )
    if input_size is None:
        fits: dict[Layout, bool] = {"NCHW": dims[1] in _CHANNELS, "NHWC": dims[3] in _CHANNELS}
    else:
        c, h, w = input_size
        fits = {
            "NCHW": _agrees(dims[1:], (c, h, w)),
            "NHWC": _agrees(dims[1:], (h, w, c)),
        }
    possible: list[Layout] = [layout for layout, fit in fits.items() if fit]
    if len(possible) == 1:
        return possible[0]
    if facts.layout_hint is not None and (possible or None in (dims[1], dims[3])):
        return facts.layout_hint
    if possible:
        raise ModelError(
            f"{facts.path}: its input {list(shape)} may be NCHW or NHWC; say which by a "
            "preprocessing spec with input_size, [channels, height, width]"
        )
    expected = (
        "1 or 3 channels; only models of grey or colour images can be audited"
        if input_size is None
        else f"(channels, height, width) {input_size}; correct --input-size or the spec"
    )
    raise ModelError(
        f"{facts.path}: its input has the shape {list(shape)}, which does not fit {expected}"
    )


def _agrees(dims: Sequence[int | None], wanted: Sequence[int]) -> bool:
    return all(d is None or d == w for d, w in zip(dims, wanted, strict=True))


def _choose_output(facts: GraphFacts, outputs: Sequence[Any], name: str | None) -> Any:
    listed = ", ".join(f"{o.name!r} {o.type} {o.shape}" for o in outputs)
    if name is not None:
        for candidate in outputs:
            if candidate.name == name:
                if candidate.type not in _FLOATS:
                    raise ModelError(
                        f"{facts.path}: the output {name!r} is a {candidate.type}, not one number "
                        f"for each class; the model has {listed}"
                    )
                return candidate
        raise ModelError(f"{facts.path}: has no output {name!r}; it has {listed}")
    floats = [o for o in outputs if o.type in _FLOATS]
    ranked = [o for o in floats if len(o.shape) == 2 and o.shape[1] != 1]
    # An output of unknown rank is a candidate only where nothing better is declared.
    candidates = ranked or [o for o in floats if not o.shape]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise ModelError(
            f"{facts.path}: has no output of shape (batch, classes) with at least 2 classes; it "
            f"has {listed}; export the classifier with its head, two classes or more"
        )
    raise ModelError(
        f"{facts.path}: several outputs may be the classes: {listed}; choose one with "
        "--output-name NAME"
    )

"""PyTorch to ONNX as these scripts want it, and the comparison with PyTorch afterwards."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from tools.shared.files import fail, finished_file


def export_onnx(
    model: nn.Module, input_shape: Sequence[int], target: Path, *, opset: int, input_name: str
) -> None:
    """Writes one ONNX file: dynamic batch, weights inside, output named `logits`.

    Args:
        model: The network, in evaluation mode.
        input_shape: Channels, height, width.
        target: The file to write.
        opset: Version of the ONNX operator set.
        input_name: Name of the graph's input.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # Two images, because the exporter takes a batch of one for a constant.
    example = torch.zeros(2, *input_shape)
    with warnings.catch_warnings():
        # The exporter warns of its own internals, not of anything that a user can act on.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: "batch"},),
            input_names=[input_name],
            output_names=["logits"],
            opset_version=opset,
            verbose=False,
        )
    proto = program.model_proto
    _drop_traces(proto)
    with finished_file(target) as partial:
        onnx.save(proto, partial)


def _drop_traces(proto: onnx.ModelProto) -> None:
    """Drops what the exporter notes about its own run: stack traces, with paths of this machine."""
    graph = proto.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.ClearField("metadata_props")


def check_against_torch(
    model: nn.Module, path: Path, inputs: np.ndarray, tolerance: float
) -> float:
    """Compares ONNX Runtime with PyTorch.

    Args:
        model: The network, in evaluation mode.
        path: Its ONNX file.
        inputs: Float32 inputs (n, channels, height, width), as the model takes them.
        tolerance: Ends the script when a logit differs by more.

    Returns:
        The largest absolute difference of a logit.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: inputs})
    with torch.inference_mode():
        expected = model(torch.from_numpy(inputs)).numpy()
    difference = float(np.abs(logits - expected).max())
    if difference > tolerance:
        fail(f"{path}: ONNX Runtime is {difference:.1e} off PyTorch, over {tolerance:.0e}.")
    return difference

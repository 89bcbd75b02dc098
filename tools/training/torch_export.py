"""Export from PyTorch to ONNX, and comparison of the ONNX file with PyTorch."""

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
        model: the network, in evaluation mode.
        input_shape: channels, height, width.
        target: the file to write.
        opset: version of the ONNX operator set.
        input_name: name of the graph's input.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # Two images: the exporter treats a batch size of one as a constant.
    example = torch.zeros(2, *input_shape)
    with warnings.catch_warnings():
        # The exporter warns about its own internals; a user can do nothing about them.
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
    """Removes stack traces, which hold paths of this machine."""
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
        model: the network, in evaluation mode.
        path: its ONNX file.
        inputs: float32 inputs (n, channels, height, width), as the model takes them.
        tolerance: largest difference of a logit; the script ends if one is larger.

    Returns:
        the largest absolute difference of a logit.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: inputs})
    with torch.inference_mode():
        expected = model(torch.from_numpy(inputs)).numpy()
    difference = float(np.abs(logits - expected).max())
    if difference > tolerance:
        fail(f"{path}: differs from PyTorch by {difference:.1e}, more than {tolerance:.0e}")
    return difference

"""Models of `Net` with another beginning or another end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["begin", "end", "run", "save"]


def end(
    model: onnx.ModelProto,
    nodes: Sequence[NodeProto],
    output: onnx.ValueInfoProto,
    weights: dict[str, NDArray[Any]] | None = None,
    domains: dict[str, int] | None = None,
) -> onnx.ModelProto:
    """The model with nodes behind its output, which they read as ``raw``."""
    for node in model.graph.node:
        node.output[:] = ["raw" if name == "out" else name for name in node.output]
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    model.graph.output.append(output)
    tensors = (weights or {}).items()
    model.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in tensors)
    versions = (domains or {}).items()
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions)
    return model


def begin(
    model: onnx.ModelProto,
    nodes: Sequence[NodeProto],
    axes: Sequence[int | str],
    weights: dict[str, NDArray[Any]] | None = None,
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """The model with nodes before its input ``image``, which they make of ``pixels``."""
    later = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *later])
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("pixels", dtype, list(axes)))
    tensors = (weights or {}).items()
    model.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in tensors)
    return model


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write the model to a file."""
    path.write_bytes(model.SerializeToString())
    return path


def run(path: Path, inputs: NDArray[Any], output: str = "out") -> Any:
    """What ONNX Runtime alone gives."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run([output], {session.get_inputs()[0].name: inputs})
    return np.asarray(found) if isinstance(found, np.ndarray) else found

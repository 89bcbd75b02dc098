"""Values of small constants in a graph that may come from a stranger."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

__all__ = ["constant_values", "tensor_values"]


def tensor_values(tensor: TensorProto, most: int) -> NDArray[np.generic] | None:
    """The values of a tensor; None if there are more than ``most``, or none can be read here."""
    # External data is hashed but not read here.
    if tensor.data_location == TensorProto.EXTERNAL or not 0 <= math.prod(tensor.dims) <= most:
        return None
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    # Dimensions and data may contradict each other: ONNX Runtime says so when it loads the model.
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return None


def constant_values(node: NodeProto, most: int) -> NDArray[np.generic] | None:
    """The values of a Constant node, likewise."""
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.HasField("t"):
            return tensor_values(attribute.t, most)
        numbers: Mapping[str, Sequence[float]] = {
            "value_int": [attribute.i], "value_ints": attribute.ints,
            "value_float": [attribute.f], "value_floats": attribute.floats,
        }  # fmt: skip
        values = numbers.get(attribute.name)
        if values is not None:
            return np.array(values) if len(values) <= most else None
    return None

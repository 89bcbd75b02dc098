"""The operator set of a model raised, by onnx's own converter."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import ModelProto, ValueInfoProto, helper, version_converter

from iaside_onnx.errors import ExportError
from iaside_onnx.export.code import one_line

__all__ = ["LOWEST_OPSET", "opset_of", "raise_opset"]

LOWEST_OPSET = 7
"""The first operator set that ONNX Runtime supports."""

# The first in which Resize has coordinate modes, of which the default is none of before.
_RESIZE_OPSET = 11
# Stands for a batch of any size while a model is converted; no other size is likely to be equal.
_PLACEHOLDER = 7919


def opset_of(model: ModelProto) -> int:
    """Version of the standard operator set of a model."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)


def raise_opset(model: ModelProto, opset: int, name: str) -> ModelProto:
    """Convert a model to a later operator set.

    Args:
        model: the model; it is not changed.
        opset: the version of the operator set, above that of the model.
        name: the model's name in error messages.

    Raises:
        ExportError: if onnx cannot convert it.
    """
    try:
        try:
            return _converted(model, opset)
        except Exception:  # noqa: BLE001  # the second error is the one that is reported
            # Some operators are converted only where all sizes are numbers.
            return _with_open_batch(_converted(_with_fixed_batch(model), opset))
    except Exception as error:
        raise ExportError(
            f"{name}: its opset is {opset_of(model)}, opset {opset} is needed, and onnx cannot "
            f"convert it ({one_line(error)}); export the model again with opset {opset} or later"
        ) from error


def _converted(model: ModelProto, opset: int) -> ModelProto:
    made = version_converter.convert_version(model, opset)
    # It does not copy them.
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    if opset_of(model) < _RESIZE_OPSET <= opset:
        _keep_coordinates(made)
    return made


def _keep_coordinates(model: ModelProto) -> None:
    """Say of Resize how it was until opset 10, where the converter takes the later default."""
    before = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    for node in model.graph.node:
        if node.op_type == "Resize":
            said = {attribute.name for attribute in node.attribute}
            node.attribute.extend(
                helper.make_attribute(name, value)
                for name, value in before.items()
                if name not in said
            )


def _with_fixed_batch(model: ModelProto) -> ModelProto:
    fixed = ModelProto()
    fixed.CopyFrom(model)
    weights = {tensor.name for tensor in fixed.graph.initializer}
    for value in fixed.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in weights and dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = _PLACEHOLDER
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    del fixed.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(fixed)


def _with_open_batch(model: ModelProto) -> ModelProto:
    del model.graph.value_info[:]
    values: Iterable[ValueInfoProto] = (*model.graph.input, *model.graph.output)
    for value in values:
        for dim in value.type.tensor_type.shape.dim[:1]:
            if dim.dim_value == _PLACEHOLDER:
                dim.dim_param = "batch"
    return model

"""ONNX Runtime's own errors, made here: the reason is kept, its source lines are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from iaside_onnx import inspect_model
from iaside_onnx.errors import EvaluationError, IasideError, ModelError
from iaside_onnx.runtime.messages import reason_of
from tests.support.onnx_ends import save


def graph(
    text: Sequence[onnx.NodeProto], *, ir: int = 8, domains: Any = (("", 17),), **weights: Any
) -> onnx.ModelProto:
    """A model of images (N, 3, 4, 4) that is not checked."""
    made = helper.make_graph(
        list(text), "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 48])],
        [numpy_helper.from_array(np.array(value), name) for name, value in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains]
    return helper.make_model(made, ir_version=ir, opset_imports=opsets)


FLAT = helper.make_node("Flatten", ["x"], ["y"])
CASES: dict[str, tuple[onnx.ModelProto, type[IasideError], list[str]]] = {
    "IR version": (
        graph([FLAT], ir=99), ModelError,
        ["Unsupported model IR version: 99, max supported IR version", "update ONNX Runtime"],
    ),
    "opset": (
        graph([FLAT], domains=[("", 99)]), ModelError,
        ["Opset 99 is under development", "Current official support for domain ai.onnx is till",
         "`opset="],
    ),
    "reshape": (
        graph([helper.make_node("Reshape", ["x", "s"], ["y"])], s=[1, 48]), EvaluationError,
        ["running Reshape node", "Input shape:{4,3,4,4}, requested shape:{1,48}", "`batch_size=1`"],
    ),
    "no operator": (
        graph([helper.make_node("Foo", ["x"], ["y"])]), ModelError,
        ["No Op registered for Foo with domain_version of 17", "standard operators"],
    ),
    "no operator of the runtime's own": (
        graph([helper.make_node("Foo", ["x"], ["y"], domain="com.microsoft")],
              domains=[("", 17), ("com.microsoft", 1)]), ModelError,
        ["com.microsoft:Foo(-1) is not a registered function/op", "standard operators"],
    ),
    "no implementation": (
        graph([helper.make_node("Cast", ["x"], ["a"], to=TensorProto.DOUBLE),
               helper.make_node("Erf", ["a"], ["b"]),
               helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
               helper.make_node("Flatten", ["c"], ["y"])]), ModelError,
        ["Could not find an implementation for Erf(13)", "raise the model's opset"],
    ),
    "shapes": (
        graph([helper.make_node("Flatten", ["x"], ["f"]),
               helper.make_node("MatMul", ["f", "w"], ["y"])],
              w=np.zeros((10, 48), np.float32)), ModelError,
        ["Incompatible dimensions for matrix multiplication", "onnx.checker"],
    ),
    "no input": (
        graph([helper.make_node("Add", ["x", "nope"], ["y"])]), ModelError,
        ["Node input 'nope' is not a graph input", "onnx.checker"],
    ),
    "index": (
        graph([helper.make_node("Flatten", ["x"], ["f"]),
               helper.make_node("Add", ["f", "one"], ["g"]),
               helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
               helper.make_node("Cast", ["m"], ["i"], to=TensorProto.INT64),
               helper.make_node("Add", ["i", "far"], ["j"]),
               helper.make_node("Gather", ["g", "j"], ["k"], axis=1),
               helper.make_node("Add", ["g", "k"], ["y"])],
              one=np.float32(1), far=np.int64(99)), EvaluationError,
        ["running Gather node", "must be within the inclusive range [-48,47]"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_reason_is_said_and_what_to_do(case: str, tmp_path: Path) -> None:
    """The reason is behind the path and the signature of a function, where messages were cut."""
    model, kind, words = CASES[case]
    path = save(model, tmp_path / "net.onnx")
    with pytest.raises(kind) as caught:
        inspect_model(path)
    text = str(caught.value)
    for word in words:
        assert word in text
    for noise in ("onnxruntime_src", ".cc:", ".h:", "onnxruntime::", "[ONNXRuntimeError]", "std::"):
        assert noise not in text
    assert str(path) in text or kind is EvaluationError
    assert text.count(str(path)) <= 1
    assert len(text) < 600
    assert not text.endswith(".")


PREFIX = "[ONNXRuntimeError] : 1 : FAIL : "


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("plain words", "plain words"),
        (f"{PREFIX}Load model from /a b/c.onnx failed:it is odd", "it is odd"),
        (
            f"{PREFIX}/src/a/b.h:91 ns::T::T(const ns::S&, ns::V<int, (long)1>&, bool) x == y was "
            "false. The reason (of it)",
            "x == y was false. The reason (of it)",
        ),
        (
            f"{PREFIX}C:\\a\\b.cpp:7 void ns::f<ns::g<int> >(const char*) const [with T = int] why",
            "why",
        ),
        (
            f"{PREFIX}CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; file=/o/c.cc ; line=3 ; "
            "expr=cudaMalloc(&p, n); ",
            "CUDA failure 2: out of memory ; GPU=0",
        ),
        (f"{PREFIX}a.cc:12 f one (two) b.h:3 g() three", "f one (two) three"),
    ],
)
def test_sources_and_signatures_are_left_out(text: str, reason: str) -> None:
    assert reason_of(RuntimeError(text)) == reason


@given(st.text())
def test_any_text_gives_one_short_line(text: str) -> None:
    """The message of a strange error would end in another error, or fill the screen."""
    found = reason_of(RuntimeError(text))
    assert len(found) <= 300
    assert len(found.splitlines()) <= 1

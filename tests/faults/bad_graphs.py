"""Models that are made to take all time or all memory."""

from __future__ import annotations

import onnx

from tests.support.bad_case import graph

__all__ = ["HOSTILE", "hostile"]

_SCORES = "flat = Flatten(image) scores0 = MatMul(flat, weights)"
# After each step the carried value is what it was, 2**63 - 1 times.
_LOOP = """
    most = Constant<value = int64 {9223372036854775807}>()
    go = Constant<value = bool {1}>()
    scores = Loop(most, go, scores0)
    <body = again (int64 i, bool before, float[N,5] x) => (bool after, float[N,5] y) {
        after = Identity(before) y = Identity(x)
    }>
"""
# A value of the image, so that nothing of it is known when the model is loaded.
_EXPAND = """
    one = ReduceMax<keepdims=0>(scores0)
    size = Constant<value = int64[1] {SIZE}>()
    huge = Expand(one, size)
    again = ReduceMin<keepdims=0>(huge)
    scores = Add(scores0, again)
"""
_CONSTANT = """
    size = Constant<value = int64[1] {SIZE}>()
    huge = ConstantOfShape(size)
    top = ReduceMax<keepdims=0>(huge)
    scores = Add(scores0, top)
"""
# Each doubles what the one before has made.
_DOUBLING = "twice = Constant<value = int64[2] {1, 2}>() v0 = Identity(scores0)" + "".join(
    f" v{i + 1} = Tile(v{i}, twice)" for i in range(40)
) + " top = ReduceMax<axes=[1], keepdims=1>(v40) scores = Add(scores0, top)"  # fmt: skip

HOSTILE: dict[str, str] = {
    "a loop without end": _LOOP,
    "10^12 elements when it runs": _EXPAND.replace("SIZE", str(10**12)),
    "10^12 elements when it is loaded": _CONSTANT.replace("SIZE", str(10**12)),
    "2 10^9 elements, which the machine may have": _EXPAND.replace("SIZE", str(2 * 10**9)),
    "2^40 times what it was, by doubling": _DOUBLING,
}


def hostile(name: str) -> onnx.ModelProto:
    """One of them, which takes images as the good model does."""
    return graph(_SCORES + HOSTILE[name])

"""Graphs that scale pixels of 0..255 themselves, given pixels in [0, 1]: said before the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from iaside_onnx import Preprocess, decompose, inspect_model
from iaside_onnx.progress import LogProgress
from iaside_onnx.runtime import read_graph
from tests.support.onnx_ends import begin, save
from tests.support.onnx_models import Net

Step = tuple[str, Any]
COLOURS = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1) * 255


def steps(path: Path, chain: list[Step], dtype: int = TensorProto.FLOAT) -> Path:
    """A network behind a chain of operators with constants, ``(op, constant)``."""
    weights: dict[str, NDArray[Any]] = {}
    nodes, name = [], "pixels"
    for number, (op, constant) in enumerate(chain):
        after = "image" if number == len(chain) - 1 else f"p{number}"
        inputs = [name]
        if op not in ("Cast", "Identity", "Relu"):
            weights[f"w{number}"] = np.asarray(constant, dtype=np.float32)
            inputs = [name, f"w{number}"] if op != "Rdiv" else [f"w{number}", name]
        attributes = {"to": constant} if op == "Cast" else {}
        op = "Div" if op == "Rdiv" else op
        nodes.append(helper.make_node(op, inputs, [after], **attributes))
        name = after
    model = begin(Net(size=(3, 8, 8)).model(), nodes, ["n", 3, 8, 8], weights, dtype)
    return save(model, path)


SCALING: dict[str, tuple[list[Step], float]] = {
    "division": ([("Div", 255)], 1 / 255),
    "product": ([("Mul", 1 / 255)], 1 / 255),
    "to [-1, 1]": ([("Div", 127.5), ("Sub", 1)], 1 / 127.5),
    "mean first": ([("Sub", 127.5), ("Mul", 1 / 127.5)], 1 / 127.5),
    "mean and std of 0..255": ([("Sub", 120), ("Div", COLOURS)], 1 / COLOURS[0, 0, 0]),
    "other steps between": (
        [("Identity", None), ("Add", 0), ("Cast", TensorProto.FLOAT), ("Mul", 1 / 256)], 1 / 256,
    ),
}  # fmt: skip
OTHER: dict[str, list[Step]] = {
    "standard deviation of [0, 1]": [("Sub", 0.5), ("Div", 0.225)],
    "something before": [("Relu", None), ("Div", 255)],
    "the other way round": [("Rdiv", 255.0)],
    "a small factor": [("Mul", 1e-4)],
}


@pytest.mark.parametrize("case", SCALING)
def test_pixels_that_would_be_scaled_twice_are_said(case: str, tmp_path: Path) -> None:
    """The model would see nearly black images, and every number be about these."""
    chain, factor = SCALING[case]
    path = steps(tmp_path / "net.onnx", chain)
    found = inspect_model(path)
    assert found.facts.input_scale == pytest.approx(factor, rel=1e-6)
    assert found.warning is not None
    for word in (str(path), f"1/{1 / factor:g}", '"value_range": [0, 255]', "scaled twice"):
        assert word in found.warning
    right = inspect_model(path, preprocess={"value_range": [0, 255]})
    assert right.warning is None
    assert inspect_model(path, preprocess="keras:caffe").warning is None
    assert inspect_model(path, preprocess="keras:torch").warning is not None


@pytest.mark.parametrize("case", OTHER)
def test_other_beginnings_are_not_warned_of(case: str, tmp_path: Path) -> None:
    """A warning on every model would be read by nobody."""
    path = steps(tmp_path / "net.onnx", OTHER[case])
    assert read_graph(path).input_scale is None
    assert inspect_model(path).warning is None


def test_bytes_are_scaled_once(tmp_path: Path) -> None:
    """A uint8 input has pixels of 0..255 anyway, and its graph divides by 255 rightly."""
    path = steps(tmp_path / "net.onnx", [("Cast", TensorProto.FLOAT), ("Div", 255)],
                 TensorProto.UINT8)  # fmt: skip
    found = inspect_model(path)
    assert found.facts.input_scale == pytest.approx(1 / 255)
    assert found.warning is None


def test_a_run_says_it_before_the_first_evaluation(tmp_path: Path) -> None:
    """The user would learn of it after hours, or never."""
    said: list[str] = []

    class Listener(LogProgress):
        def warn(self, line: str) -> None:
            said.append(line)

        def begin(self, images: int, finished: int, evaluations: int) -> None:
            said.append("begin")
            super().begin(images, finished, evaluations)

    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    path = steps(tmp_path / "net.onnx", [("Div", 255)])
    words: dict[str, Any] = {"bands": 2, "labels": [0, 1, 2], "progress": Listener()}
    decompose(path, images, tmp_path / "a.h5", **words)
    assert [("twice" in line, line == "begin") for line in said][:2] == [
        (True, False),
        (False, True),
    ]
    said.clear()
    spec = Preprocess(value_range=(0.0, 255.0))
    decompose(path, images, tmp_path / "b.h5", preprocess=spec, **words)
    assert not any("twice" in line for line in said)

"""Models that cannot be audited."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from tests.support.bad_case import LINEAR, Case, graph, keep_outside, save_model

__all__ = ["CASES"]

_WEIGHTS = bytes(64 * 5 * 4)


def _holds(data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "model.onnx").write_bytes(data)


def _is(model: onnx.ModelProto) -> Callable[[Path], object]:
    return lambda folder: save_model(folder, model)


def _cut_short(folder: Path) -> None:
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[: len(data) // 2])


def _data_above(folder: Path) -> None:
    (folder.parent / "above.bin").write_bytes(_WEIGHTS)
    save_model(folder, keep_outside("../above.bin"))


def _data_elsewhere(folder: Path) -> None:
    (folder.parent / "elsewhere.bin").write_bytes(_WEIGHTS)
    save_model(folder, keep_outside(str(folder.parent / "elsewhere.bin")))


def _data_behind_link(folder: Path) -> None:
    (folder.parent / "linked.bin").write_bytes(_WEIGHTS)
    (folder / "weights.bin").symlink_to(folder.parent / "linked.bin")
    save_model(folder, keep_outside("weights.bin"))


def _spec(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "model.preprocess.json").write_text(text)


_TWO = "flat = Flatten(image) scores = MatMul(flat, weights) more = Relu(scores)"
_FOREIGN = "flat = Flatten(image) scores = com.example.Secret(flat, weights)"
_NAN = f"{LINEAR[: LINEAR.index('scores')]} raw = MatMul(flat, weights) scores = Sqrt(raw)"
_ONE = "flat = Flatten(image) scores = ReduceMean<axes=[1], keepdims=1>(flat)"

CASES = [
    Case("model missing", "none.onnx: does not exist", model="none.onnx"),
    Case("model a folder", "dir: is a folder", model="dir", make=lambda f: (f / "dir").mkdir()),
    Case("model empty", "model.onnx: not an ONNX model", make=_holds(b"")),
    Case("model cut short", "model.onnx: not an ONNX model", make=_cut_short),
    Case(
        "model of random bytes",
        "model.onnx: not an ONNX model",
        make=_holds(np.random.default_rng(0).bytes(4096)),
    ),
    Case(
        "model gives images",
        "model.onnx: has no output of shape (batch, classes)",
        make=_is(graph("scores = Relu(image)", outputs="float[N,1,8,8] scores")),
    ),
    Case(
        "model gives one number",
        "one number for each image: give --output-kind",
        make=_is(graph(_ONE, outputs="float[N,1] scores")),
    ),
    Case(
        "model that goes round in a circle",
        "model.onnx: ONNX Runtime refuses the model",
        make=_is(graph("again = Identity(scores) scores = Identity(again)")),
    ),
    Case(
        "model with several outputs",
        "several outputs may be the classes: 'scores'",
        make=_is(graph(_TWO, outputs="float[N,5] scores, float[N,5] more")),
    ),
    Case("output that is not there", "has no output 'logits'", options="--output-name logits"),
    Case(
        "model with two inputs",
        "has 2 inputs ('image', 'other')",
        make=_is(
            graph(
                "flat = Flatten(image) raw = MatMul(flat, weights) scores = Add(raw, other)",
                inputs="float[N,1,8,8] image, float[N,5] other",
            )
        ),
    ),
    Case(
        "model of int32",
        "'image' is a tensor(int32)",
        make=_is(
            graph(
                "x = Cast<to=1>(image) flat = Flatten(x) scores = MatMul(flat, weights)",
                inputs="int32[N,1,8,8] image",
            )
        ),
    ),
    Case(
        "model of strings",
        "'image' is a tensor(string)",
        make=_is(
            graph(
                "x = Cast<to=1>(image) flat = Flatten(x) scores = MatMul(flat, weights)",
                inputs="string[N,1,8,8] image",
            )
        ),
    ),
    Case(
        "model of vectors",
        "which fits no image by itself; give --input-size",
        make=_is(graph("scores = Relu(image)", inputs="float[N,5] image")),
    ),
    Case(
        "model of four channels",
        "does not fit 1 or 3 channels",
        make=_is(graph(inputs="float[N,4,4,4] image")),
    ),
    Case("model that gives NaN", "gives NaN or infinite outputs", make=_is(graph(_NAN))),
    Case("weights above the folder", "outside of its own folder", make=_data_above),
    Case("weights at an absolute path", "outside of its own folder", make=_data_elsewhere),
    Case("weights behind a link", "'weights.bin', a link to", make=_data_behind_link),
    Case(
        "weights missing",
        "'weights.bin', which does not exist",
        make=_is(keep_outside("weights.bin")),
    ),
    Case(
        "operator of a stranger",
        "operators of the domain 'com.example'",
        make=_is(graph(_FOREIGN, domains=', "com.example": 1')),
    ),
    Case(
        "operator that is not in the standard",
        "ONNX Runtime refuses the model",
        make=_is(graph("flat = Flatten(image) scores = Secret(flat, weights)")),
    ),
    Case(
        "model that ends in a sigmoid",
        "do not sum to 1 over the classes",
        make=_is(graph("flat = Flatten(image) r = MatMul(flat, weights) scores = Sigmoid(r)")),
    ),
    Case(
        "preprocessing of another size",
        "does not fit (channels, height, width) (3, 224, 224)",
        make=_spec(json.dumps({"input_size": [3, 224, 224]})),
    ),
    Case(
        "preprocessing beside the model is no JSON",
        "model.preprocess.json is not valid JSON",
        make=_spec("{"),
    ),
]

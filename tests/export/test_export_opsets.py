"""FP16 and INT8 of graphs of many operator sets, compared with FP32 by the runtime alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

pytest.importorskip("sympy")

import iaside_onnx
from iaside_onnx.errors import ExportError
from iaside_onnx.export.quantization import split_images
from iaside_onnx.images import open_images
from tests.export.opset_graphs import GRAPHS, SIDE, save_graph
from tests.support.command import in_process

pytestmark = pytest.mark.filterwarnings("ignore")

STRANGE = Path(
    os.environ.get("IASIDE_STRANGE", Path(__file__).parents[3] / "shared/strange-models")
)
CALIBRATION = 40


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """Images of one brightness, contrast and pattern each, so that models see differences."""
    rng = np.random.default_rng(7)
    coarse = rng.uniform(-1, 1, (120, 2, 2)).repeat(4, axis=1).repeat(4, axis=2)
    fine = rng.uniform(-1, 1, (120, SIDE, SIDE))
    light, contrast, share = (rng.uniform(0, 1, (120, 1, 1)) for _ in range(3))
    mixed = light + contrast * (share * coarse + (1 - share) * fine)
    return np.asarray(np.clip(mixed, 0, 1) * 255).round().astype(np.uint8)


def exact(path: Path, pictures: NDArray[np.uint8]) -> NDArray[Any]:
    """Scores in FP32, by a plain session; by onnx's own evaluator where that has no kernels."""
    x: NDArray[Any] = pictures[:, None]
    kind = onnx.load(str(path)).graph.input[0].type.tensor_type.elem_type
    x = x if kind == onnx.TensorProto.UINT8 else x.astype(np.float32) / np.float32(255)
    if path.stem.startswith("6-"):
        return np.asarray(_by_hand(path, x))
    return scores(path, x)


def _by_hand(path: Path, x: NDArray[Any]) -> NDArray[Any]:
    """The graph of opset 6 without its attributes `broadcast`, which NumPy does not need."""
    model = onnx.load(str(path))
    for node in model.graph.node:
        kept = [a for a in node.attribute if a.name not in ("broadcast", "axis")]
        del node.attribute[:]
        node.attribute.extend(kept)
    model.opset_import[0].version = 13
    return np.asarray(next(iter(ReferenceEvaluator(model).run(["scores"], {"image": x}))))


def scores(path: Path, x: NDArray[Any]) -> NDArray[Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    return np.asarray(session.run(["scores"], {image.name: x})[0])


@pytest.mark.parametrize("to", ["int8", "fp16"])
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_of_many_opsets(
    name: str, to: Any, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The tools would go on for ever, fail, or write a file that the runtime refuses."""
    model, path = tmp_path / f"{name}.onnx", tmp_path / "q.onnx"
    save_graph(name, model)
    made = iaside_onnx.quantize(
        model, pictures, path, to=to, calibration=CALIBRATION, output_name="scores"
    )
    before = exact(model, pictures)
    x = pictures[:, None]
    found = scores(path, x if name == "13-bytes" else x.astype(np.float32) / np.float32(255))
    # Without that, two models that ignore the image would agree.
    assert len(np.unique(before.argmax(axis=1))) >= 2
    spread = np.ptp(before[np.isfinite(before)])
    assert np.abs(found - before).mean() < (0.05 if to == "int8" else 0.001) * spread
    _, second = split_images(open_images(pictures), CALIBRATION if to == "int8" else 0, seed=0)
    same = before[second].argmax(axis=1) == found[second].argmax(axis=1)
    assert made.agreement == pytest.approx(same.mean(), abs=1e-9)
    assert made.agreement > (0.8 if to == "int8" else 0.95)
    assert made.facts.precision == {"int8": "int8", "fp16": "float16"}[to]
    opset = GRAPHS[name][0]
    raised = opset < {"int8": 13, "fp16": 7}[to]
    assert made.facts.opset == (13 if raised else opset)
    told = [note for note in made.notes if f"opset {opset} was raised to 13" in note]
    assert bool(told) == raised
    assert json.loads(made.facts.metadata["iaside.quantize"])["notes"] == list(made.notes)
    kept = {o.name for o in onnx.load(str(model)).graph.output}
    assert {o.name for o in onnx.load(str(path)).graph.output} == kept


def test_the_command_line_says_what_it_does(pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """Minutes without a word look like a command that hangs; a raised opset is another model."""
    save_graph("11-depthwise-cumsum", tmp_path / "m.onnx")
    np.save(tmp_path / "i.npy", pictures)
    words: list[str | Path] = ["quantize", tmp_path / "m.onnx", "--images", tmp_path / "i.npy"]
    outcome = in_process(*words, "-o", tmp_path / "q.onnx")
    outcome.succeeds()
    told = [line.split()[0] for line in outcome.err.splitlines()]
    assert told == ["reading", "opset", "calibrating", "comparing", "writing"]
    assert "opset 11 was raised to 13" in outcome.out
    assert "opset 11 was raised to 13" not in outcome.out.split("bytes")[1]


def test_an_opset_that_cannot_be_raised(pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """The error must say what is needed, and that only another export gives it."""
    path = tmp_path / "m.onnx"
    save_graph("11-depthwise-cumsum", path)
    model = onnx.load(str(path))
    # No operator of this name was in opset 11, so onnx knows no way to a later one.
    model.graph.node[1].op_type = "Mish"
    onnx.save(model, str(path))
    in_process("inspect", path).fails("Mish")
    model.opset_import[0].version = 6
    onnx.save(model, str(path))
    np.save(tmp_path / "i.npy", pictures)
    words: list[str | Path] = [
        "quantize",
        path,
        "--images",
        tmp_path / "i.npy",
        "-o",
        tmp_path / "q.onnx",
    ]
    for precision in ("int8", "fp16"):
        outcome = in_process(*words, "--to", precision)
        outcome.fails("its opset is 6", "opset 13 is needed", "export the model again")
    assert not (tmp_path / "q.onnx").exists()


def test_a_raised_opset_that_changes_outputs(pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """An error of onnx's converter would be taken for the loss of INT8, and audited."""
    path = tmp_path / "m.onnx"
    save_graph("11-hardmax", path)
    with pytest.raises(ExportError, match=r"raising its opset from 11 to 13 changes its outputs"):
        iaside_onnx.quantize(path, pictures, tmp_path / "q.onnx", calibration=CALIBRATION)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_tool_that_fails_for_each_channel(pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """Half of the real files were refused for a scale for each channel, which is no need."""
    path = tmp_path / "m.onnx"
    save_graph("9-upsample", path)
    model = onnx.load(str(path))
    # As CNTK writes it: the tools fail on a bias with two axes.
    (bias,) = (t for t in model.graph.initializer if t.name == model.graph.node[-1].input[2])
    bias.dims[:] = [1, 5]
    onnx.save(model, str(path))
    made = iaside_onnx.quantize(path, pictures, tmp_path / "q.onnx", calibration=CALIBRATION)
    assert "weights have one scale for a whole tensor" in made.notes[-1]
    x = pictures[:, None].astype(np.float32) / np.float32(255)
    before, found = scores(path, x), scores(tmp_path / "q.onnx", x)
    assert np.abs(found - before).max() < 0.15 * np.ptp(before)


@pytest.mark.parametrize("to", ["int8", "fp16"])
@pytest.mark.parametrize("name", ["cntk_mnist8", "dianna_mnist_model", "makora_mnist_cnn"])
def test_real_files(name: str, to: Any, tmp_path: Path) -> None:
    """What nobody here wrote: CNTK of opset 8, LogSoftmax of opset 11, opset 6 in batches of 64."""
    model = STRANGE / f"{name}.onnx"
    if not model.exists():
        pytest.skip("the folder of real files is not here")
    rng = np.random.default_rng(3)
    pictures = rng.integers(0, 256, (150, 28, 28), dtype=np.uint8)
    path = tmp_path / "q.onnx"
    made = iaside_onnx.quantize(model, pictures, path, to=to, calibration=CALIBRATION)
    assert made.agreement > 0.7
    session = onnxruntime.InferenceSession(tmp_path / "q.onnx")
    assert session.get_inputs()[0].type == "tensor(float)"

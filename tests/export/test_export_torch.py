"""PyTorch to ONNX with the real PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import torch

import iaside_onnx
from iaside_onnx.errors import ExportError, OptionError, PreprocessError
from tests.export import torch_models
from tests.export.checks import check_file, metadata, sha256
from tests.export.torch_models import Net, trained
from tests.export.twins import SPEC, assert_same_contributions
from tests.support.command import in_process

HERE = "tests.export.torch_models"
SIZE = (3, 16, 16)


def reference(model: torch.nn.Module) -> Any:
    """Outputs in evaluation mode."""

    def run(inputs: Any) -> Any:
        with torch.inference_mode():
            return model.eval()(torch.from_numpy(inputs)).numpy()

    return run


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A state_dict as torch.save writes it."""
    path = tmp_path / "weights.pt"
    torch.save(trained().state_dict(), path)
    return path


def test_a_class_and_weights(weights: Path, tmp_path: Path) -> None:
    """Other weights, training mode, a fixed batch or lost provenance would differ."""
    path = tmp_path / "net.onnx"
    spec = iaside_onnx.Preprocess(mean=(0.5,), std=(0.25,), interpolation="bicubic")
    made = iaside_onnx.export_torch(
        f"{HERE}:Net", path, weights=weights, input_size=SIZE, preprocess=spec
    )
    model = check_file(path, reference(trained()), SIZE)
    assert model.opset_import[0].version == made.facts.opset == 18
    kept = metadata(path, "iaside.export")
    assert kept["framework"] == "PyTorch"
    assert kept["versions"]["torch"] == torch.__version__
    assert kept["source_sha256"]["weights.pt"] == sha256(weights)
    assert kept["source_sha256"]["torch_models.py"] == sha256(Path(torch_models.__file__))
    assert kept["checked_images"] == made.images == 16
    assert 0 <= kept["largest_difference"] == made.difference < 1e-4
    stored = metadata(path, "iaside.preprocess")
    assert (stored["mean"], stored["input_size"]) == ([0.5], [3, 16, 16])
    found = iaside_onnx.inspect_model(path)
    assert found.preprocess is not None
    assert found.preprocess.std == (0.25,)
    assert found.output_kind == made.output_kind == "logits"


def test_a_factory_with_its_own_weights_and_another_opset(tmp_path: Path) -> None:
    """A model in training mode would give noise; the opset asked for could be ignored."""
    path = tmp_path / "net.onnx"
    made = iaside_onnx.export_torch(f"{HERE}:trained", path, input_size=SIZE, opset=20)
    check_file(path, reference(trained()), SIZE)
    assert made.facts.opset == 20
    assert made.preprocess is None
    assert "iaside.preprocess" not in made.facts.metadata


def test_safetensors(tmp_path: Path) -> None:
    """The safe format must give what the other gives."""
    safetensors = pytest.importorskip("safetensors.torch")
    weights, path = tmp_path / "w.safetensors", tmp_path / "net.onnx"
    safetensors.save_file(trained().state_dict(), weights)
    iaside_onnx.export_torch(f"{HERE}:Net", path, weights=weights, input_size=SIZE)
    check_file(path, reference(trained()), SIZE)


def test_a_checkpoint_of_a_training_loop(tmp_path: Path) -> None:
    """DataParallel's prefix, and an optimiser beside the weights, are what people have."""
    weights, path = tmp_path / "last.ckpt", tmp_path / "net.onnx"
    state = {f"module.{name}": tensor for name, tensor in trained().state_dict().items()}
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, "state_dict": state}, weights)
    made = iaside_onnx.export_torch(f"{HERE}:Net", path, weights=weights, input_size=SIZE)
    check_file(path, reference(trained()), SIZE)
    assert any("'state_dict'" in note for note in made.notes)
    assert any("'module.'" in note for note in made.notes)


def test_a_model_on_the_meta_device(weights: Path, tmp_path: Path) -> None:
    """Parameters on the meta device must be replaced by the weights."""
    path = tmp_path / "net.onnx"
    iaside_onnx.export_torch(f"{HERE}:on_meta", path, weights=weights, input_size=SIZE)
    check_file(path, reference(trained()), SIZE)


def test_safetensors_by_another_name(tmp_path: Path) -> None:
    """The format must be found from the content, as the hub names files by another suffix."""
    safetensors = pytest.importorskip("safetensors.torch")
    weights, path = tmp_path / "pytorch_model.bin", tmp_path / "net.onnx"
    safetensors.save_file(trained().state_dict(), weights)
    iaside_onnx.export_torch(f"{HERE}:Net", path, weights=weights, input_size=SIZE)
    check_file(path, reference(trained()), SIZE)


def test_an_opset_that_the_exporter_does_not_have(tmp_path: Path) -> None:
    """A file with another opset than asked for would fail where it is deployed."""
    path = tmp_path / "net.onnx"
    with pytest.raises(
        ExportError, match="opset 13 was asked for, but the exporter needs at least 18"
    ):
        iaside_onnx.export_torch(f"{HERE}:trained", path, input_size=SIZE, opset=13)


def test_what_code_prints_is_not_on_stdout(tmp_path: Path) -> None:
    """Text on stdout would break what reads the JSON."""
    words = ["export", "torch", f"{HERE}:prints", "--input-size", "3,16,16", "--json"]
    outcome = in_process(*words, "-o", tmp_path / "net.onnx")
    outcome.succeeds()
    assert json.loads(outcome.out)["framework"] == "PyTorch"
    assert "loading" in outcome.err


def test_an_object_with_logits(weights: Path, tmp_path: Path) -> None:
    """Models of the hub return an object; its logits are the scores."""
    path = tmp_path / "net.onnx"
    iaside_onnx.export_torch(f"{HERE}:WithLogits", path, weights=weights, input_size=SIZE)
    check_file(path, reference(trained()), SIZE)


def test_twin(tmp_path: Path) -> None:
    """One network must have one decomposition, whatever framework it came from."""
    torch.save(torch_models.twin_state(), tmp_path / "twin.pt")
    path = tmp_path / "twin.onnx"
    iaside_onnx.export_torch(f"{HERE}:Twin", path, weights=tmp_path / "twin.pt", preprocess=SPEC)
    assert_same_contributions(path, tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("Missing", "has no 'Missing'"),
        ("Nets", "did you mean 'Net'"),
        ("NOT_A_MODEL", "is of type int"),
        ("number", "returns a int"),
        ("broken", "FileNotFoundError: no such config"),
        ("TwoInputs", "takes 2 inputs (images, scale)"),
        ("TwoOutputs", "returns a tuple of 2"),
        ("Indices", "values of type int64"),
        ("Batch", "fails on a batch of 16 images"),
        ("Nan", "gives NaN in PyTorch itself"),
        ("Custom", "cannot export it to ONNX"),
        ("on_meta", "on the meta device, without values"),
        ("script", "returns a TorchScript program"),
        ("leaves", "SystemExit: 0"),
        ("Always", "for twice the same images"),
    ],
)
def test_bad_code(factory: str, says: str, tmp_path: Path) -> None:
    """Each must fail with one sentence that names the cause, and create no file."""
    path = tmp_path / "bad.onnx"
    with pytest.raises(ExportError) as caught:
        iaside_onnx.export_torch(f"{HERE}:{factory}", path, input_size=SIZE)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


class Trap:
    """Creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def save_pickle(path: Path) -> None:
    torch.save(Trap(path.parent / "sprung"), path)


def save_module(path: Path) -> None:
    torch.save(trained(), path)


def save_script(path: Path) -> None:
    torch.jit.save(torch.jit.trace(trained().eval(), torch.zeros(1, *SIZE)), path)


def save_bytes(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(4096))


def save_other(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)


def save_part(path: Path) -> None:
    state = trained().state_dict()
    del state["head.bias"]
    torch.save(state, path)


def save_wider(path: Path) -> None:
    torch.save(Net(channels=4).state_dict(), path)


def save_nothing(_: Path) -> None:
    """Write no file."""


def save_list(path: Path) -> None:
    torch.save([torch.zeros(3)], path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("save", "name", "says"),
    [
        (save_pickle, "w.pt", "holds Python objects"),
        (save_module, "w.pt", "holds Python objects"),
        (save_script, "w.pt", "is a TorchScript program"),
        (save_bytes, "w.pt", "not a file of PyTorch weights, or a damaged one"),
        (save_bytes, "w.safetensors", "not a safetensors file"),
        (save_other, "w.pt", "lacks weights of the model"),
        (save_part, "w.pt", "(head.bias)"),
        (save_wider, "w.pt", "size mismatch for conv.weight"),
        (save_list, "w.pt", "no mapping of names to tensors"),
        (save_nothing, "w.pt", "does not exist"),
    ],
)
def test_bad_weights(save: Any, name: str, says: str, tmp_path: Path) -> None:
    """A pickle must never be loaded, and weights that do not fit must be refused."""
    weights, path = tmp_path / name, tmp_path / "bad.onnx"
    save(weights)
    with pytest.raises(ExportError) as caught:
        iaside_onnx.export_torch(f"{HERE}:Net", path, weights=weights, input_size=SIZE)
    assert says in str(caught.value)
    assert str(weights) in str(caught.value)
    assert not path.exists()
    assert not (tmp_path / "sprung").exists()


def test_the_trap_would_be_sprung(tmp_path: Path) -> None:
    """Shows that `Trap` works; otherwise the test above would prove nothing."""
    save_pickle(tmp_path / "w.pt")
    torch.load(tmp_path / "w.pt", weights_only=False)
    assert (tmp_path / "sprung").exists()


def test_sizes(tmp_path: Path) -> None:
    """A missing size, or two that contradict each other, must be reported."""
    path = tmp_path / "net.onnx"
    with pytest.raises(OptionError, match="`input_size="):
        iaside_onnx.export_torch(f"{HERE}:trained", path)
    with pytest.raises(PreprocessError, match="input_size"):
        iaside_onnx.export_torch(
            f"{HERE}:trained", path, input_size=SIZE,
            preprocess=iaside_onnx.Preprocess(input_size=(3, 32, 32)),
        )  # fmt: skip
    with pytest.raises(ExportError, match="fails on images of 1 x 16 x 16"):
        iaside_onnx.export_torch(f"{HERE}:trained", path, input_size=(1, 16, 16))


def test_command_line_says_only_its_own(weights: Path, tmp_path: Path) -> None:
    """The exporter's own output would hide the result."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "iaside_onnx", "export", "torch", f"{HERE}:Net", "--weights",
         weights, "--input-size", "3,16,16", "-o", tmp_path / "net.onnx"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps = ["loading", "converting", "comparing", "writing"]
    assert [line.split()[0] for line in done.stderr.splitlines()] == steps
    lines = done.stdout.splitlines()
    assert lines[0].startswith("model ")
    assert lines[-1].startswith("checked      16 images, largest difference from PyTorch ")

"""Models of other frameworks given as ONNX files: the error names the command for them."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import h5py
import pytest

from tests.support.command import CNN, PICTURES, in_process


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02.")


def _hdf5(path: Path) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["keras_version"] = "3"
    path.write_bytes(buffer.getvalue())


def _saved_model(path: Path) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\x08\x01")


FILES = {
    "model.pt": (_zip, "iaside export torch MODULE:FACTORY --weights model.pt"),
    "model.pth": (_zip, "iaside export torch MODULE:FACTORY --weights model.pth"),
    "m.safetensors": (lambda p: p.write_bytes(b"\2\0\0\0\0\0\0\0{}"), "iaside export torch MODULE"),
    "model.keras": (_zip, "iaside export keras model.keras -o model.onnx"),
    "model.h5": (_hdf5, "iaside export keras model.h5 -o model.onnx"),
    "model.tflite": (lambda p: p.write_bytes(b"\x1c\0\0\0TFL3"), "iaside export tflite model.tf"),
    "model.pkl": (lambda p: p.write_bytes(pickle.dumps([1])), "iaside export sklearn MODULE:FACT"),
    "a b.joblib": (lambda p: p.write_bytes(pickle.dumps([1])), "-o 'a b.onnx'"),
    "saved": (_saved_model, "iaside export saved-model saved -o saved.onnx"),
    "saved/saved_model.pb": (
        lambda p: _saved_model(p.parent),
        "iaside export saved-model saved -o saved.onnx",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_the_export_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To say "not an ONNX model" does not say that this tool can do that."""
    monkeypatch.chdir(tmp_path)
    make, phrase = FILES[name]
    make(Path(name))
    in_process("inspect", name).fails(name, phrase)
    in_process("decompose", name, "--images", PICTURES, "-o", "out.h5").fails(phrase)
    assert not Path("out.h5").exists()


def test_an_onnx_file_of_any_name_is_read(tmp_path: Path) -> None:
    """What a file holds decides, and not what it is called."""
    path = tmp_path / "model.pt"
    path.write_bytes(CNN.read_bytes())
    in_process("inspect", path).succeeds()
    in_process("inspect", tmp_path / "none.pt").fails("does not exist")

"""Models that are no ONNX files: which command brings them to ONNX."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from iaside_onnx.errors import ModelError

__all__ = ["name_export"]

_T = TypeVar("_T")
_TORCH = "torch MODULE:FACTORY --weights {path} --input-size C,H,W"
_PICKLE = (
    "a pickle, which runs code of its author when it is loaded",
    "sklearn MODULE:FACTORY --input-size C,H,W",
)
# By suffix: what such a file is, and the words after `iaside export`.
_FRAMEWORKS = {
    ".pt": ("a PyTorch file", _TORCH),
    ".pth": ("a PyTorch file", _TORCH),
    ".ckpt": ("a checkpoint of PyTorch", _TORCH),
    ".safetensors": ("weights without a graph", _TORCH),
    ".keras": ("a Keras file", "keras {path}"),
    ".h5": ("an HDF5 file, as of Keras", "keras {path}"),
    ".hdf5": ("an HDF5 file, as of Keras", "keras {path}"),
    ".tflite": ("a TensorFlow Lite file", "tflite {path}"),
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".joblib": _PICKLE,
}
_SAVED_MODEL = "saved_model.pb"


def name_export(read: Callable[[Path], _T]) -> Callable[[Path], _T]:
    """Make a reader of ONNX files say how to export what it cannot read."""

    @functools.wraps(read)
    def reads(path: Path) -> _T:
        try:
            return read(path)
        except ModelError as error:
            found = _framework(path)
            if found is None:
                raise
            what, words = found
            stem = (path.parent if path.name == _SAVED_MODEL else path).stem
            command = f"iaside export {words} -o {shlex.quote(f'{stem}.onnx')}"
            raise ModelError(f"{path}: is {what}; bring it to ONNX: {command}") from error

    return reads


def _framework(path: Path) -> tuple[str, str] | None:
    """What a file or folder is, and the words that export it; None if unknown or not there."""
    folder = path.parent if path.name == _SAVED_MODEL else path
    if (folder / _SAVED_MODEL).is_file():
        return "a SavedModel of TensorFlow", f"saved-model {shlex.quote(str(folder))}"
    found = _FRAMEWORKS.get(path.suffix.lower())
    if found is None or not path.is_file():
        return None
    return found[0], found[1].format(path=shlex.quote(str(path)))

"""PyTorch weights from files: tensors only, never other objects."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iaside_onnx.errors import ExportError
from iaside_onnx.export.code import failure, one_line
from iaside_onnx.export.extras import quiet, require

if TYPE_CHECKING:
    import torch

__all__ = ["load_into", "read_weights", "without_prefixes"]

_NOT_WEIGHTS = "is not a file of PyTorch weights, or a damaged one"
# Where training loops put the weights beside an optimiser's state and an epoch.
_PARTS = ("state_dict", "model_state_dict", "model", "net", "module", "weights", "params")


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Read safetensors or what ``torch.save`` wrote.

    Returns:
        Tensors by name; and notes for the user.

    Raises:
        ExportError: the file cannot be read, holds anything but tensors, or no tensors.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise ExportError(f"{path} {found}; give the file with the weights")
    with path.open("rb") as file:
        begin = file.read(9)
    # A safetensors file begins with the length of its header, 8 bytes, and the header, JSON.
    safe = path.suffix == ".safetensors" or begin[8:] == b"{"
    data = _safetensors(path) if safe else _checkpoint(path)
    if _is_state(data):
        return dict(data), []
    if isinstance(data, Mapping):
        parts = [name for name in _PARTS if _is_state(data.get(name))]
        if parts:
            return dict(data[parts[0]]), [f"weights: the part {parts[0]!r} of {path.name}"]
    raise ExportError(
        f"{path} holds no mapping of names to tensors; save model.state_dict(), or safetensors"
    )


def _is_state(data: Any) -> bool:
    import torch

    return (
        isinstance(data, Mapping)
        and bool(data)
        and all(isinstance(n, str) and isinstance(v, torch.Tensor) for n, v in data.items())
    )


def _safetensors(path: Path) -> Any:
    safetensors = require("torch", "safetensors.torch")
    try:
        return safetensors.load_file(path)
    except Exception as error:
        raise failure(f"{path} is not a safetensors file, or a damaged one", error) from error


def _checkpoint(path: Path) -> Any:
    import torch

    try:
        with quiet():
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if path.read_bytes()[:2] not in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise ExportError(
                f"{path} {_NOT_WEIGHTS}; save model.state_dict(), or safetensors"
            ) from error
        raise ExportError(
            f"{path} holds Python objects beside tensors, and unpickling them runs code from their "
            "author; save model.state_dict() alone, or safetensors"
        ) from error
    except Exception as error:
        # PyTorch's message is not shown, as it advises to load without weights_only.
        what = (
            "is a TorchScript program, not weights" if "TorchScript" in str(error) else _NOT_WEIGHTS
        )
        raise ExportError(f"{path} {what}; save model.state_dict(), or safetensors") from error


def without_prefixes(
    state: dict[str, torch.Tensor], model: torch.nn.Module
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Drop prefixes that all names of the weights share and the model's names do not have.

    DataParallel, torch.compile and training frameworks add them.

    Returns:
        Tensors by name; and notes for the user.
    """
    own = model.state_dict().keys()
    notes = []
    while prefix := _foreign_prefix(state, own):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        notes.append(f"weights: the prefix {prefix!r} of all names was dropped")
    return state, notes


def load_into(model: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load weights into a model.

    Raises:
        ExportError: weights are missing, left over, or of another shape.
    """
    # Parameters on the meta device have no memory to copy to, so the tensors replace them.
    empty = any(parameter.is_meta for parameter in model.parameters())
    try:
        found = model.load_state_dict(state, strict=False, assign=empty)
    except RuntimeError as error:
        mismatch = next((x for x in str(error).splitlines() if "size mismatch" in x), str(error))
        raise ExportError(
            f"{path} does not fit the model: {one_line(RuntimeError(mismatch.strip()))}"
        ) from error
    for names, what in (
        (found.missing_keys, "lacks weights of the model"),
        (found.unexpected_keys, "has weights that the model does not have"),
    ):
        if names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise ExportError(
                f"{path} does not fit the model: it {what}, {len(names)} in all ({shown}); give "
                "the code that these weights were trained with"
            )


def _foreign_prefix(state: Mapping[str, Any], own: Any) -> str:
    """The first part of all names, if they share it and no name of the model has it; else empty."""
    first = next(iter(state)).partition(".")[0] + "."
    shared = all(name.startswith(first) for name in state)
    return first if shared and not any(name.startswith(first) for name in own) else ""

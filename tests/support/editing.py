"""Archives that somebody has changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from iaside_onnx.archive import digest_of

__all__ = ["edited"]


def edited(original: Path, folder: Path, edit: Callable[[Any], object], *, sign: bool) -> Path:
    """A copy that somebody has changed, and signed again or not."""
    path = folder / "edited.h5"
    shutil.copy(original, path)
    with h5py.File(path, "r+") as file:
        edit(file)
        if sign:
            file.attrs["digest"] = digest_of(file)
    return path

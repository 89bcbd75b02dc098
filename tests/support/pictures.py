"""Random pixels, as arrays and as files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Random RGB pixels, ``(height, width, 3)``."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def picture(path: Path, seed: int = 0) -> Path:
    """A file of random pixels, in the format that its name says; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(6, 8, seed)).save(path)
    return path


def tar(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    """A tar file with these files in it."""
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path

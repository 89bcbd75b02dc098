"""The sampled run that several tests begin from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iaside_onnx import Archive, decompose
from tests.support.command import CNN, MODELS, PICTURES

__all__ = ["CNN", "MODELS", "PICTURES", "copied", "sample"]


def sample(path: Path, **options: Any) -> Archive:
    """Forty images, six bands, one pair each for 36 of them."""
    words: dict[str, Any] = {"method": "sampled", "bands": 6, "limit": 40, "budget": 400}
    return decompose(CNN, PICTURES, path, **{**words, **options})


def copied(archive: Archive, folder: Path) -> Path:
    """A copy of an archive, to be spoilt."""
    path = folder / "copy.h5"
    path.write_bytes(archive.path.read_bytes())
    return path

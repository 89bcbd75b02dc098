"""What several tests of pages share."""

from __future__ import annotations

import pytest

import iaside_onnx
from iaside_onnx import Archive
from tests.support.command import MODELS, PICTURES


@pytest.fixture(scope="session")
def pgd(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Another model on the same images as `bundled_archive`."""
    folder = tmp_path_factory.mktemp("pgd")
    return iaside_onnx.decompose(
        MODELS / "fashion-cnn-pgd.onnx", PICTURES, folder / "pgd.h5", bands=6, limit=12
    )

"""Archives that several tests read and none changes."""

from __future__ import annotations

import pytest

from iaside_onnx import Archive, decompose
from tests.engine.sampling import CNN, PICTURES, sample


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Every coalition of the 40 images."""
    folder = tmp_path_factory.mktemp("exact")
    return decompose(CNN, PICTURES, folder / "exact.h5", bands=6, limit=40, method="exact")


@pytest.fixture(scope="session")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Forty images: one pair each for all, a second one for 36."""
    return sample(tmp_path_factory.mktemp("sampled") / "sampled.h5", budget=740)

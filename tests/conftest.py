"""Fixtures that several rooms share."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
from hypothesis import settings

import iaside_onnx
from tests.support.sampling import CNN, PICTURES, sample

# The same examples every time, and no deadline: a busy machine is no failure.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")


@pytest.fixture(params=["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest) -> ModuleType:
    """The array module; CuPy only where it is installed and finds a GPU."""
    try:
        module = importlib.import_module(request.param)
    except ImportError:
        pytest.skip(f"{request.param} is not installed")
    if request.param == "cupy":
        try:
            module.cuda.runtime.getDeviceCount()
        except module.cuda.runtime.CUDARuntimeError as error:
            pytest.skip(f"no GPU: {error}")
    return module


@pytest.fixture(scope="session")
def bundled_archive(tmp_path_factory: pytest.TempPathFactory) -> iaside_onnx.Archive:
    """Twelve bundled images through the bundled model, six bands."""
    return iaside_onnx.decompose(
        CNN,
        PICTURES,
        tmp_path_factory.mktemp("bundled") / "bundled.h5",
        bands=6,
        limit=12,
    )


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> iaside_onnx.Archive:
    """Every coalition of the 40 images."""
    folder = tmp_path_factory.mktemp("exact")
    return iaside_onnx.decompose(
        CNN, PICTURES, folder / "exact.h5", bands=6, limit=40, method="exact"
    )


@pytest.fixture(scope="session")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> iaside_onnx.Archive:
    """Forty images: one pair each for all, a second one for 36."""
    return sample(tmp_path_factory.mktemp("sampled") / "sampled.h5", budget=740)

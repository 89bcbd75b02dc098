"""What several tests of faults share."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

import iaside_onnx
from tests.support.bad_case import save_images, save_model
from tests.support.command import CNN, PICTURES

# Whoever runs the tests in the background may have them ignore Ctrl-C, and what they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a good model and good images."""
    here = tmp_path / "here"
    here.mkdir()
    save_model(here)
    save_images(here)
    monkeypatch.chdir(here)
    return here


def save_archive(path: Path, kind: str) -> Path:
    """Make a small archive of all coalitions, or of a sample with pairs that differ."""
    options: dict[str, Any] = {"limit": 20, "bands": 4}
    if kind == "sampled":
        # A second pair for some images.
        options |= {"method": "sampled", "budget": 180}
    iaside_onnx.decompose(CNN, PICTURES, path, **options)
    return path


@pytest.fixture(scope="session", params=["exact", "sampled"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small archive of each kind."""
    return save_archive(tmp_path_factory.mktemp(request.param) / "a.h5", request.param)


@pytest.fixture(scope="session", params=["exact", pytest.param("sampled", marks=pytest.mark.slow)])
def evaluated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, where evaluating takes long."""
    return save_archive(tmp_path_factory.mktemp(request.param) / "a.h5", request.param)

"""What several tests of faults share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.bad_case import save_images, save_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a good model and good images."""
    here = tmp_path / "here"
    here.mkdir()
    save_model(here)
    save_images(here)
    monkeypatch.chdir(here)
    return here

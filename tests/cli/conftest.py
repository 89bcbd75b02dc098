"""What several tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bad_case import save_images, save_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a small model and images."""
    save_model(tmp_path)
    save_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path

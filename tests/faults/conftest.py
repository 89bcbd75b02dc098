"""What several tests of faults share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.bad_case import save_images, save_model

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

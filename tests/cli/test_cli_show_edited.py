"""``iaside show`` of an archive that is not as it was written."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py

from tests.support.command import in_process
from tests.support.sampling import MODELS, PICTURES


def test_edited_numbers_are_shown_with_a_warning(tmp_path: Path) -> None:
    """Somebody's numbers would be printed above the digest of the real ones, without a word."""
    whole, edited = tmp_path / "whole.h5", tmp_path / "edited.h5"
    words: list[str | Path] = ["--images", PICTURES, "--limit", "4", "--bands", "3", "-o", whole]
    in_process("decompose", MODELS / "fashion-cnn.onnx", *words).succeeds()
    assert "Warning" not in in_process("show", whole).err
    shutil.copy(whole, edited)
    with h5py.File(edited, "r+") as file:
        file["sis"][...] = 0.999
    shown = in_process("show", edited)
    assert "0.999" in shown.out
    assert "edited.h5: cannot be trusted: the digest is" in shown.err
    assert "cannot be trusted" in in_process("show", edited, "--json").err

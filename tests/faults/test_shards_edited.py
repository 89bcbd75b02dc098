"""Shards of unfinished work that somebody edited, with a hash that fits again."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx.runs import LogProgress
from tests.support.command import CNN, PICTURES
from tests.support.comparing import assert_same
from tests.support.stopping import Stopping

# Three shards: 512 images of 8 coalitions each make 4,096 evaluations, and at most 64 are in one.
WORDS: dict[str, Any] = {"bands": 3, "limit": 150}


class Warned(LogProgress):
    """Keeps the warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def warn(self, line: str) -> None:
        self.lines.append(line)


def set_nan(file: Any) -> None:
    file["worth"][3, 2] = np.nan


def set_above(file: Any) -> None:
    file["worth"][3, 2] = 4


def set_infinite(file: Any) -> None:
    file["worth"][3, 2] = -np.inf


def remove(file: Any) -> None:
    del file["predicted"]


def remove_images(file: Any) -> None:
    del file["image"]


def cut(file: Any) -> None:
    values = file["worth"][:, :4]
    del file["worth"]
    file["worth"] = values


def cut_rows(file: Any) -> None:
    values = file["label"][:-1]
    del file["label"]
    file["label"] = values


@pytest.mark.parametrize(
    "edit", [set_nan, set_above, set_infinite, remove, remove_images, cut, cut_rows]
)
def test_what_was_edited_is_evaluated_again(edit: Callable[[Any], object], tmp_path: Path) -> None:
    """A traceback, or values that no model gave, in an archive that is signed."""
    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt):
        iaside_onnx.decompose(CNN, PICTURES, path, progress=Stopping(100), **WORDS)
    shard = tmp_path / "a.h5.work" / "shard-000000.h5"
    data = io.BytesIO(shard.read_bytes()[:-32])
    with h5py.File(data, "r+") as file:
        edit(file)
    shard.write_bytes(data.getvalue() + hashlib.sha256(data.getvalue()).digest())
    progress = Warned()
    iaside_onnx.decompose(CNN, PICTURES, path, progress=progress, **WORDS)
    assert ["shard-000000.h5: damaged shard; it is" in line for line in progress.lines] == [True]
    whole = tmp_path / "whole.h5"
    iaside_onnx.decompose(CNN, PICTURES, whole, **WORDS)
    assert_same(whole, path)
    assert iaside_onnx.verify(path).problems == []

"""Graphs that declare any batch and fix it elsewhere: in the output, or inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import iaside_onnx
from tests.runs.mixing_models import build, save, worths_alone


def _reshaped(rows: int, *, out: int | str = "N") -> onnx.ModelProto:
    model = build("h = Reshape(image, shape)", out=out)
    shape = np.array([rows, 1, 8, 8], np.int64)
    model.graph.initializer.append(numpy_helper.from_array(shape, "shape"))
    return model


def _recipe(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return dict(json.loads(file.attrs["options"])["resolved"])


@pytest.mark.parametrize("options", [{}, {"batch_size": "auto"}, {"workers": 2, "threads": 1}])
def test_a_declared_output_batch_that_is_wrong_changes_nothing(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """ONNX Runtime refuses a buffer of the right size, though it runs the model."""
    save(tmp_path, build("h = Identity(image)", out=7))
    archive = iaside_onnx.decompose(
        tmp_path / "model.onnx", tmp_path / "images.npz", tmp_path / "out.h5", bands=3, **options
    )
    expected = worths_alone(tmp_path / "model.onnx")
    np.testing.assert_allclose(archive.worth(), expected, atol=1e-4)
    assert any("declares 7 rows" in note for note in archive.metadata.notes)
    assert "batch_rule" not in _recipe(tmp_path / "out.h5")


@pytest.mark.parametrize("options", [{}, {"batch_size": "auto"}, {"workers": 2, "threads": 1}])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_batch_that_is_fixed_inside_is_found(
    tmp_path: Path, rows: int, options: dict[str, Any]
) -> None:
    """The user would have to guess the one batch size with which the model works."""
    save(tmp_path, _reshaped(rows))
    archive = iaside_onnx.decompose(
        tmp_path / "model.onnx", tmp_path / "images.npz", tmp_path / "out.h5", bands=3, **options
    )
    # 72 filtered images are 24 whole batches of three.
    expected = worths_alone(tmp_path / "model.onnx", batch=rows)
    np.testing.assert_allclose(archive.worth(), expected, atol=1e-4)
    recipe = _recipe(tmp_path / "out.h5")
    assert (recipe["batch_size"], recipe["batch_rule"]) == (rows, "fixed")
    assert any(f"batch size: {rows}" in note for note in archive.metadata.notes)
    found = iaside_onnx.verify(tmp_path / "out.h5", sample=20)
    assert not found.problems

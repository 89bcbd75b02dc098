"""Worths that `iaside verify` evaluates again: does the model still say so of the images?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx.archive import digest_of
from iaside_onnx.runs import Evaluator, Job
from tests.support.command import CNN, PICTURES, in_process
from tests.support.editing import edited


def test_some_worths_are_evaluated_again(evaluated: Path) -> None:
    """The same model on the same images must still say so, and how closely is said."""
    there = int((~np.isnan(iaside_onnx.open_archive(evaluated).worth())).sum())
    # Eight at least of an image, with the empty and the full coalition among them.
    for cells, expected in ((1, 2), (50, 56), (10_000, there)):
        found = iaside_onnx.verify(evaluated, sample=cells)
        assert found.problems == []
        (looked,) = [line for line in found.checked if "evaluated again" in line]
        assert int(looked.split()[0]) == expected
        assert float(looked.split()[-2]) < 1e-3
        assert ("all that there are, of 10000 asked for" in looked) == (cells > there)


def test_which_worths_are_evaluated_again_cannot_be_known(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever forges an archive leaves those as they are, and forges all others."""
    seen: set[tuple[int, ...]] = set()
    real = Evaluator.evaluate

    def spy(self: Evaluator, jobs: Sequence[Job], *args: Any) -> Any:
        seen.update(tuple(row.tolist()) for job in jobs for row in np.asarray(job.masks))
        return real(self, jobs, *args)

    monkeypatch.setattr(Evaluator, "evaluate", spy)
    for _ in range(4):
        iaside_onnx.verify(evaluated, sample=64)
    # 32 images in all; were it the same worths each time, there would be 8 at most.
    assert len(seen) > 10


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("image_id", 3, "the names of the archive's images are not those"),
        ("predicted", 3, "is class"),
    ],
)
def test_what_the_images_and_the_model_say_is_compared(
    name: str, row: int, says: str, evaluated: Path, tmp_path: Path
) -> None:
    """Names that are exchanged, or answers that the model never gave, with all else in order."""

    def change(file: Any) -> None:
        values = file[name][()]
        values[row] = b"zz" if name == "image_id" else (values[row] + 1) % 10
        file[name][...] = values
        file.attrs["accuracy"] = float((file["predicted"][()] == file["label"][()]).mean())

    path = edited(evaluated, tmp_path, change, sign=True)
    assert iaside_onnx.verify(path).problems == []
    assert says in iaside_onnx.verify(path, sample=10_000).problems[0]


def test_worths_of_another_model_are_found(evaluated: Path, tmp_path: Path) -> None:
    """Whoever forges an archive can sign it, and make its numbers add up, but not the model say it.

    Here a whole archive of another model says that it is of this one.
    """
    options: dict[str, Any] = {"limit": 20, "bands": 4, "baseline": "noise"}
    noisy, forged = CNN.with_name("fashion-cnn-noise.onnx"), tmp_path / "forged.h5"
    iaside_onnx.decompose(noisy, PICTURES, forged, **options)
    known = iaside_onnx.open_archive(evaluated).metadata
    with h5py.File(forged, "r+") as file:
        file.attrs["model_sha256"] = known.model_sha256
        file.attrs["preprocess"] = json.dumps(dict(known.preprocess))
        options = json.loads(file.attrs["options"])
        for name in ("model_sha256", "preprocess"):
            options["resolved"][name] = json.loads(json.dumps(known.options["resolved"][name]))
        file.attrs["options"] = json.dumps(options)
        file.attrs["digest"] = digest_of(file)
    assert iaside_onnx.verify(forged).problems == []
    found = iaside_onnx.verify(forged, model=CNN, sample=40)
    assert any("worths are not what they were" in problem for problem in found.problems)


def test_another_model_or_image_is_named(evaluated: Path, tmp_path: Path) -> None:
    """By their hashes, before anything is evaluated."""
    noisy = CNN.with_name("fashion-cnn-noise.onnx")
    outcome = in_process("verify", evaluated, "--model", noisy)
    assert outcome.code == 1
    assert f"{noisy} is another model" in outcome.out
    with np.load(PICTURES) as bundled:
        arrays = dict(bundled)
    first = int(iaside_onnx.open_archive(evaluated)["image"][0])
    arrays["images"][first, 0, 0] ^= 1
    np.savez(tmp_path / "other.npz", **arrays)
    found = iaside_onnx.verify(evaluated, images=tmp_path / "other.npz")
    assert found.problems == [f"the image {first:03d} has changed since: its SHA-256 is another"]
    arrays["images"], arrays["labels"] = arrays["images"][:first], arrays["labels"][:first]
    np.savez(tmp_path / "fewer.npz", **arrays)
    found = iaside_onnx.verify(evaluated, images=tmp_path / "fewer.npz")
    assert "holds other images than the archive" in found.problems[0]
    in_process("verify", evaluated, "--sample", "0").fails("at least", code=2)

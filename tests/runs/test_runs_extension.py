"""Extending a sampled archive: nothing is lost, and nothing else is mixed in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx import Archive, extend
from iaside_onnx.errors import ArchiveError, OptionError, RunConflictError
from iaside_onnx.runs import LogProgress
from tests.support.comparing import assert_nothing_left
from tests.support.sampling import MODELS, PICTURES, copied, sample
from tests.support.stopping import Stopping


def test_extending_equals_a_single_longer_run(sampled: Archive, tmp_path: Path) -> None:
    """What was paid for is thrown away, or the two halves are of different samples."""
    path = tmp_path / "out.h5"
    # 3 blocks, then into the second pass.
    sample(path, budget=200)
    with h5py.File(path) as file:
        assert file["image"].size == 18
    with pytest.raises(KeyboardInterrupt):
        extend(path, budget=740, progress=Stopping(30))
    assert iaside_onnx.open_archive(path)["image"].size == 18
    longer = extend(path, budget=740)
    assert_nothing_left(path)
    for name in longer.names:
        if longer[name].dtype.kind == "f":
            np.testing.assert_allclose(longer[name], sampled[name], rtol=0, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(longer[name], sampled[name], err_msg=name)
    assert longer.metadata.sample is not None
    assert sampled.metadata.sample is not None
    assert longer.metadata.sample["evaluations"] == sampled.metadata.sample["evaluations"]
    again = sample(path, budget=740)
    assert again.metadata.finished == longer.metadata.finished


def test_extending_to_less_does_nothing(sampled: Archive, tmp_path: Path) -> None:
    """What is there must not be lost to a smaller budget."""
    path = copied(sampled, tmp_path)
    assert extend(path, budget=500)["worth"].shape == sampled["worth"].shape
    assert path.read_bytes() == sampled.path.read_bytes()


def test_a_batch_size_that_was_found_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search finds another size, and the archive can never be extended."""
    path = tmp_path / "out.h5"
    sample(path, budget=200, batch_size="auto")

    def search(*_: object) -> None:
        pytest.fail("searched again")

    monkeypatch.setattr("iaside_onnx.runs.planning.fastest_batch", search)
    assert extend(path, budget=400)["image"].size == 36


def test_an_archive_that_another_process_extended_is_kept(sampled: Archive, tmp_path: Path) -> None:
    """The slower of two extensions would replace the larger result by its own."""
    path = tmp_path / "out.h5"
    sample(path, budget=200)

    class Slow(LogProgress):
        """The other extension ends while this one says what it is about to do."""

        def say(self, line: str) -> None:
            super().say(line)
            path.write_bytes(sampled.path.read_bytes())

    with pytest.raises(RunConflictError, match="extended by another process meanwhile"):
        extend(path, budget=400, progress=Slow())
    assert path.read_bytes() == sampled.path.read_bytes()


@pytest.mark.parametrize(
    "sample", [{}, {"rounds": []}, {"rounds": [40, 6]}, {"rounds": [10**9]}, {"rounds": ["a"]}]
)
def test_an_archive_that_was_edited_is_not_extended(
    sampled: Archive, tmp_path: Path, sample: dict[str, Any]
) -> None:
    """A traceback, or shards of nothing."""
    path = copied(sampled, tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["sample"] = json.dumps(sample)
    with pytest.raises(ArchiveError, match="does not say how far the run went"):
        extend(path, budget=9999)


def test_what_cannot_be_extended(sampled: Archive, table: Archive, tmp_path: Path) -> None:
    """Other images or another model mixed into an archive."""
    with pytest.raises(ArchiveError, match="every coalition of its images"):
        extend(table.path, budget=9999)
    with pytest.raises(OptionError, match="a budget, or a target"):
        extend(sampled.path)
    with pytest.raises(RunConflictError, match="differs in: the model"):
        extend(sampled.path, budget=9999, model=MODELS / "fashion-cnn-pgd.onnx")
    with np.load(PICTURES) as data:
        images, labels = data["images"], data["labels"]
    np.savez(tmp_path / "fewer.npz", images=images[:900], labels=labels[:900])
    with pytest.raises(RunConflictError, match="the names or labels of the images"):
        extend(sampled.path, budget=9999, images=tmp_path / "fewer.npz")
    images = images.copy()
    images[int(sampled["image"][3])] ^= 1
    np.savez(tmp_path / "other.npz", images=images, labels=labels)
    path = copied(sampled, tmp_path)
    with pytest.raises(RunConflictError, match=r"over other images: image .* has changed since"):
        extend(path, budget=1100, images=tmp_path / "other.npz")
    # A folder of work would stand in the way of every other budget.
    assert_nothing_left(path)
    assert path.read_bytes() == sampled.path.read_bytes()

"""Shards: what is written is what is read, or nothing is."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from iaside_onnx.archive import Failure, Shard, Workspace, describe_differences
from iaside_onnx.errors import ArchiveError

ARRAYS = ("image", "label", "predicted", "worth", "phi_image", "log_probability_whole",
          "log_probability_empty", "floored")  # fmt: skip
NAMES = ["Größe/図.png", "a b", "\x1b[31mred", "new\nline", "0", "ß" * 300]


def shard(n: int = 6, failed: int = 0) -> Shard:
    """A shard of ``n`` images, of which the last ``failed`` failed; every number is another."""
    rng = np.random.default_rng(n)
    good = n - failed
    worth = rng.standard_normal((good, 8), dtype=np.float32)
    worth[:1, :1] = np.nan
    values = {
        "image": np.arange(good, dtype=np.int64),
        "image_id": NAMES[:good],
        "image_sha256": [f"{i:064x}" for i in range(good)],
        "label": rng.integers(0, 9, good),
        "predicted": rng.integers(0, 9, good),
        "worth": worth,
        "phi_image": rng.standard_normal((good, 3)),
        "log_probability_whole": worth[:, 7].copy(),
        "log_probability_empty": worth[:, 0].copy(),
        "floored": rng.integers(0, 9, good),
    }
    failures = tuple(Failure(i, NAMES[i], f"because {NAMES[i]}") for i in range(good, n))
    return Shard(values, failures, batch_size=32)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "out.h5")
    made.folder.mkdir()
    return made


def positions(n: int = 6) -> NDArray[np.int64]:
    return np.arange(n, dtype=np.int64)


@pytest.mark.parametrize("failed", [0, 1, 6])
def test_a_shard_comes_back_as_it_was(failed: int, workspace: Workspace) -> None:
    """A resumed run differs from an undisturbed one; a shard without any good image is lost."""
    written = shard(failed=failed)
    workspace.write(3, written)
    read = workspace.read(3, positions())
    assert read is not None
    for name in ARRAYS:
        ours, theirs = written[name], read[name]
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
    assert read["worth"].dtype == np.float32
    for name in ("image_id", "image_sha256"):
        assert read[name] == written[name]
    assert read.failures == written.failures
    assert read.batch_size == written.batch_size


def test_the_same_shard_is_the_same_file(workspace: Workspace) -> None:
    """A time stamp inside would hide that two runs agree."""
    workspace.write(0, shard())
    workspace.write(1, shard())
    assert workspace.path(0).read_bytes() == workspace.path(1).read_bytes()


def test_a_shard_is_an_hdf5_file(workspace: Workspace) -> None:
    """Whoever rescues an unfinished run by hand needs more than this package."""
    workspace.write(0, shard())
    with h5py.File(workspace.path(0), "r") as file:
        np.testing.assert_array_equal(file["worth"][()], shard()["worth"])


def test_any_damage_is_found(workspace: Workspace) -> None:
    """Wrong numbers are taken for right ones, or HDF5 crashes on them and takes Python along."""
    workspace.write(0, shard(failed=1))
    path = workspace.path(0)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in [*rng.integers(0, len(good), 200).tolist(), 0, len(good) - 1]:
        damaged = bytearray(good)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(ArchiveError, match=r"shard-000000\.h5: damaged shard"):
            workspace.read(0, positions())
    for length in (0, 1, 31, 32, 33, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(ArchiveError, match="damaged shard"):
            workspace.read(0, positions())


def test_a_shard_of_other_images_is_refused(workspace: Workspace) -> None:
    """Rows under the names of other images."""
    workspace.write(0, shard(failed=2))
    with pytest.raises(ArchiveError, match="other images than expected"):
        workspace.read(0, positions() + 1)
    with pytest.raises(ArchiveError, match="other images than expected"):
        workspace.read(0, positions(5))


def test_a_shard_that_is_not_there_is_none(workspace: Workspace) -> None:
    """A new run could not start."""
    assert workspace.read(0, positions()) is None


def test_a_claimed_folder_keeps_its_first_start_and_its_shards(workspace: Workspace) -> None:
    """A resumed run forgets when it began, or throws finished shards away."""
    identity = {"bands": 3, "name": "ü"}
    assert workspace.claim(identity, "early", overwrite=False) == "early"
    workspace.write(0, shard())
    assert workspace.claim(identity, "late", overwrite=True) == "early"
    assert workspace.path(0).exists()
    assert workspace.claim({**identity, "bands": 4}, "late", overwrite=True) == "late"
    assert not workspace.path(0).exists()


def test_a_lock_in_a_folder_that_cannot_be_made_is_an_archive_error(tmp_path: Path) -> None:
    """A traceback where the folder of the output has gone."""
    with pytest.raises(ArchiveError, match="No such file"), Workspace(tmp_path / "a" / "b").lock():
        pytest.fail("there is no folder")


def test_differences_name_both_sides() -> None:
    """The user cannot see which option to change."""
    ours = {"bands": 8, "seed": 0, "kept": 1, "long": "x" * 99, "new": True}
    theirs = {"bands": 6, "seed": 0, "kept": 1, "long": "y" * 99}
    text = describe_differences(ours, theirs)
    assert "bands (6 there, 8 now)" in text
    assert "new (null there, true now)" in text
    assert "seed" not in text
    assert "kept" not in text
    assert len(text) < 200


def test_clearing_takes_the_folder_and_nothing_else(workspace: Workspace) -> None:
    """Somebody's files beside the archive are gone."""
    workspace.write(0, shard())
    workspace.output.write_bytes(b"archive")
    workspace.clear()
    assert [path.name for path in workspace.output.parent.iterdir()] == ["out.h5"]


def test_a_folder_of_work_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Files are removed where it leads, which may be anywhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "shard-000000.h5").touch()
    (tmp_path / "out.h5.work").symlink_to(elsewhere)
    with pytest.raises(ArchiveError, match="symbolic link"), Workspace(tmp_path / "out.h5").lock():
        pass
    assert (elsewhere / "shard-000000.h5").exists()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"identity": 5, "started": 7}', "[]", "\x00"])
def test_a_plan_that_says_nothing_is_said(text: str, tmp_path: Path) -> None:
    """A traceback, and nobody knows what to delete."""
    workspace = Workspace(tmp_path / "out.h5")
    with workspace.lock():
        (workspace.folder / "plan.json").write_text(text)
        with pytest.raises(ArchiveError, match=r"plan\.json: unreadable .*; delete"):
            workspace.claim({}, "now", overwrite=False)

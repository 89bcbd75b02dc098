"""An archive that is a symbolic link is the file that the link names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iaside_onnx
from iaside_onnx.archive import Workspace
from iaside_onnx.errors import RunConflictError
from tests.support.command import CNN, PICTURES
from tests.support.comparing import assert_nothing_left
from tests.support.sampling import sample

EXACT: dict[str, Any] = {"bands": 3, "limit": 4}


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A link in one folder to a file in another, which is not there yet."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    link = tmp_path / "here" / "link.h5"
    link.symlink_to(tmp_path / "there" / "a.h5")
    return link


def test_extending_a_link_extends_its_file(link: Path) -> None:
    """The link becomes a file of its own, and the archive stays as it was for everybody else."""
    target = link.resolve()
    sample(target, budget=200)
    extended = iaside_onnx.extend(link, budget=400)
    assert link.is_symlink()
    assert link.resolve() == target
    assert extended["image"].size == iaside_onnx.open_archive(target)["image"].size == 36
    assert_nothing_left(link)
    assert_nothing_left(target)


def test_a_run_and_a_merged_archive_are_written_through_a_link(link: Path) -> None:
    """The same for other commands that write an archive."""
    target = link.resolve()
    with np.load(PICTURES) as data:
        images, labels = data["images"][:8], data["labels"][:8]
    parts = []
    for rows in (slice(0, 4), slice(4, 8)):
        part = link.with_name(f"{rows.start}.h5")
        iaside_onnx.decompose(CNN, images[rows], part, labels=labels[rows], bands=3)
        parts.append(part)
    iaside_onnx.decompose(CNN, PICTURES, link, **EXACT)
    assert link.is_symlink()
    assert iaside_onnx.open_archive(target)["image"].size == 4
    iaside_onnx.merge(parts, link, overwrite=True)
    assert link.is_symlink()
    assert iaside_onnx.open_archive(target)["image"].size == 8


def test_a_link_and_its_file_have_one_lock(link: Path) -> None:
    """Two runs evaluate the same, and the slower one replaces what the other one wrote."""
    target = link.resolve()
    sample(target, budget=200)
    before = target.read_bytes()
    with Workspace(target).lock(), pytest.raises(RunConflictError, match="another process"):
        iaside_onnx.extend(link, budget=400)
    with Workspace(link).lock(), pytest.raises(RunConflictError, match="another process"):
        iaside_onnx.extend(target, budget=400)
    assert target.read_bytes() == before

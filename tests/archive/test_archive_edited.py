"""Commands that go on from an archive take no archive that is damaged or was edited."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import iaside_onnx
from iaside_onnx import Archive
from iaside_onnx.errors import ArchiveError, RunConflictError
from tests.support.command import CNN, PICTURES, in_process
from tests.support.comparing import assert_nothing_left
from tests.support.editing import edited

BANDS = 4
WORDS: dict[str, Any] = {"method": "sampled", "bands": BANDS, "limit": 20}


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """A sample in which some images have two pairs."""
    path = tmp_path_factory.mktemp("sampled") / "a.h5"
    return iaside_onnx.decompose(CNN, PICTURES, path, budget=180, **WORDS)


def set_worth(file: Any) -> None:
    file["worth"][:, 3] = -20


def set_pairs(file: Any) -> None:
    file["pairs"][0] = file["pairs"][0] + 1


def set_draw(file: Any) -> None:
    file["draw"][0] = file["draw"][1]


def set_block(file: Any) -> None:
    file["block"][0] = 3


def set_failed_name(file: Any) -> None:
    file["image_id"][0] = b"another"


EDITS = [set_worth, set_pairs, set_draw, set_block, set_failed_name]


@pytest.mark.parametrize("edit", EDITS)
def test_what_was_edited_is_not_extended(
    edit: Callable[[Any], object], sampled: Archive, tmp_path: Path
) -> None:
    """The longer archive has a new and valid digest over values that somebody made up."""
    path = edited(sampled.path, tmp_path, edit, sign=False)
    before = path.read_bytes()
    said = iaside_onnx.verify(path).problems[0]
    in_process("extend", path, "--budget", "300").fails("cannot be extended", said)
    assert path.read_bytes() == before
    assert_nothing_left(path)


@pytest.mark.parametrize("edit", [set_worth, set_pairs, set_draw, set_block])
def test_what_was_edited_and_signed_is_not_extended_either(
    edit: Callable[[Any], object], sampled: Archive, tmp_path: Path
) -> None:
    """Anybody can sign; numbers that do not follow from each other are found by arithmetic."""
    path = edited(sampled.path, tmp_path, edit, sign=True)
    before = path.read_bytes()
    in_process("extend", path, "--budget", "300").fails("cannot be extended")
    assert path.read_bytes() == before
    assert_nothing_left(path)


def test_a_flipped_bit_is_not_extended(sampled: Archive, tmp_path: Path) -> None:
    """A damaged chunk is found before anything is evaluated, not when its shard is made."""
    import h5py

    path = tmp_path / "a.h5"
    data = bytearray(sampled.path.read_bytes())
    with h5py.File(sampled.path) as file:
        chunk = file["worth"].id.get_chunk_info(0)
    data[chunk.byte_offset + chunk.size // 2] ^= 16
    path.write_bytes(data)
    in_process("extend", path, "--budget", "300").fails("cannot be extended", "wrong checksum")
    assert path.read_bytes() == bytes(data)


def test_what_was_edited_while_the_model_was_loaded_is_not_extended(
    sampled: Archive, tmp_path: Path
) -> None:
    """Checked once, and signed after somebody wrote into it."""
    path = tmp_path / "a.h5"
    shutil.copy(sampled.path, path)

    class Editing(iaside_onnx.runs.LogProgress):
        """Somebody writes while the extension says what it is about to do."""

        def say(self, line: str) -> None:
            super().say(line)
            edited(sampled.path, tmp_path, set_worth, sign=False)
            path.write_bytes((tmp_path / "edited.h5").read_bytes())

    with pytest.raises(RunConflictError, match="meanwhile"):
        iaside_onnx.extend(path, budget=300, progress=Editing())
    assert path.read_bytes() == (tmp_path / "edited.h5").read_bytes()


def test_a_finished_run_that_was_edited_is_not_shown_again(
    sampled: Archive, tmp_path: Path
) -> None:
    """The same command again prints somebody's numbers as its own result."""
    path = edited(sampled.path, tmp_path, set_worth, sign=False)
    with pytest.raises(
        RunConflictError, match=r"the digest is .* another output, or `overwrite=True`"
    ):
        iaside_onnx.decompose(CNN, PICTURES, path, budget=180, **WORDS)
    again = iaside_onnx.decompose(CNN, PICTURES, path, budget=180, overwrite=True, **WORDS)
    assert iaside_onnx.verify(again.path).problems == []


@pytest.mark.parametrize("ending", ["csv", "json", "parquet", "nc"])
def test_what_was_edited_is_not_converted(ending: str, sampled: Archive, tmp_path: Path) -> None:
    """A table has no digest of its own: whoever reads it cannot see that it was edited."""
    path = edited(sampled.path, tmp_path, set_worth, sign=False)
    with pytest.raises(ArchiveError, match="cannot be converted: the digest is"):
        iaside_onnx.convert(path, tmp_path / f"a.{ending}")
    assert [found.name for found in tmp_path.iterdir()] == ["edited.h5"]


def test_an_archive_without_a_digest_is_converted(sampled: Archive, tmp_path: Path) -> None:
    """The first archives have none, and remain readable."""
    path = edited(sampled.path, tmp_path, lambda file: file.attrs.__delitem__("digest"), sign=False)
    iaside_onnx.convert(path, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().count("\n") == 1 + BANDS * sampled["image"].size

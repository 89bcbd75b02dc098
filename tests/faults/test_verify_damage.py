"""Damaged archives: what is damaged is named, and HDF5 takes no process along."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

import iaside_onnx
from iaside_onnx.errors import ArchiveError, OptionError
from tests.support.command import PATIENCE, in_process, in_subprocess


def test_the_place_of_a_damaged_chunk_is_named(original: Path, tmp_path: Path) -> None:
    """One flipped bit in the worths."""
    path = tmp_path / "flipped.h5"
    shutil.copy(original, path)
    with h5py.File(path) as file:
        chunk = file["worth"].id.get_chunk_info(0)
        place = chunk.byte_offset + chunk.size // 2
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(data)
    found = iaside_onnx.verify(path)
    assert found.problems[0].startswith("the variable 'worth' cannot be read at rows 0 to ")
    outcome = in_subprocess("verify", path, "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out)["problems"] == found.problems


def test_a_damaged_heap_is_found_at_once(original: Path, tmp_path: Path) -> None:
    """HDF5 reads for ever on one whose objects have other lengths."""
    path = tmp_path / "flipped.h5"
    data = bytearray(original.read_bytes())
    heap = data.index(b"GCOL")
    # The length of its second object: each holds one reference, of 8 bytes.
    place = heap + 16 + 24 + 8
    assert data[place] == 8
    said = set()
    for length in (0, 17, 137, 255):
        data[place] = length
        path.write_bytes(data)
        try:
            said.update(iaside_onnx.verify(path, timeout=PATIENCE).problems)
        except ArchiveError as error:
            said.add(str(error))
    assert f"the heap at byte {heap} is damaged" in said
    assert not [text for text in said if "seconds" in text]


_FLIPS = """
import collections, os, random, signal, sys
from pathlib import Path
import numpy as np
from iaside_onnx import open_archive
from iaside_onnx.analysis import check
from iaside_onnx.errors import ArchiveError

original, copy, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
data, whole, rng = original.read_bytes(), open_archive(original), random.Random(0)
seen = collections.Counter()
for _ in range(count):
    flipped, place = bytearray(data), rng.randrange(len(data))
    flipped[place] ^= 1 << rng.randrange(8)
    copy.write_bytes(flipped)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            if check(copy)[0]:
                os._exit(1)
            found = open_archive(copy)
            same = found.metadata == whole.metadata and found.names == whole.names and all(
                np.array_equal(found[n], whole[n], equal_nan=found[n].dtype.kind == "f")
                for n in whole.names
            )
            os._exit(2 if same else 3)
        except ArchiveError:
            os._exit(1)
        except BaseException as error:
            print(place, repr(error), file=sys.stderr)
            os._exit(4)
    _, status = os.waitpid(child, 0)
    # A crash or a hang of HDF5, which `verify` reports of its child, is found as well.
    seen[os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1] += 1
print(seen[1], seen[2], seen[3], seen[4])
"""


@pytest.mark.parametrize("flips", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_found_or_changes_nothing(
    flips: int, original: Path, tmp_path: Path
) -> None:
    """An archive that reads otherwise than it was written, and is called well, is worthless."""
    words: list[str | Path] = [
        sys.executable,
        "-c",
        _FLIPS,
        original,
        tmp_path / "flipped.h5",
        str(flips),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found, harmless, missed, raised = map(int, done.stdout.split())
    assert (missed, raised) == (0, 0), done.stderr
    assert found > flips // 15
    assert harmless > flips // 15


def test_hdf5_that_crashes_or_never_ends_is_an_error(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged files do both; neither may take this process along."""
    # No interpreter starts so fast.
    with pytest.raises(ArchiveError, match=r"was not read in 0\.001 seconds"):
        iaside_onnx.verify(original, timeout=0.001)
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -ABRT $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crashing))
    with pytest.raises(ArchiveError, match="HDF5 itself fails on it"):
        iaside_onnx.verify(original)
    with pytest.raises(OptionError, match="timeout"):
        iaside_onnx.verify(original, timeout=0)


def test_what_is_no_archive(tmp_path: Path) -> None:
    """One sentence, and exit 1."""
    in_process("verify", tmp_path / "none.h5").fails("does not exist")
    (tmp_path / "a.h5").write_bytes(b"no archive")
    in_process("verify", tmp_path / "a.h5").fails("not an HDF5 file, or a damaged one")

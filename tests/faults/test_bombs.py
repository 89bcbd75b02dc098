"""Small archives that unpack to much: refused by size, and read in little memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx import Archive
from iaside_onnx.archive import DECOMPOSITION, Workspace, write_archive
from iaside_onnx.errors import ArchiveError
from tests.support.command import CNN, PICTURES, in_process

BANDS = 14
COALITIONS = 1 << BANDS
# Peak of this process, and of the children that it waited for, in KiB.
_MEASURED = """
import re, resource, sys
from pathlib import Path
from iaside_onnx.cli import main
try:
    main()
except SystemExit:
    pass
own = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print("PEAK", own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(*words: str | Path) -> int:
    """Greatest resident size of a command and of what it starts, in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *map(str, words)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return max(map(int, done.stdout.split("PEAK")[1].split())) >> 10


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """All coalitions of one image, as many as there may be."""
    path = tmp_path_factory.mktemp("one") / "a.h5"
    return iaside_onnx.decompose(CNN, PICTURES, path, limit=1, bands=BANDS, method="exact")


def repeated(one: Archive, path: Path, images: int, name: str) -> Path:
    """A signed archive of many images with constant worths, and one name for all."""
    values: dict[str, Any] = {}
    for key, variable in one.declared.items():
        if not variable.streamed:
            times = (images, *[1] * (len(variable.dims) - 1))
            values[key] = np.tile(one[key], times) if variable.dims[:1] == ("image",) else one[key]
    values |= {"image": np.arange(images), "image_id": [name] * images}
    workspace = Workspace(path)
    metadata = replace(one.metadata, images_asked=images, images_done=images)

    def rows() -> Iterator[dict[str, Any]]:
        for _ in range(images):
            yield {"worth": np.full((1, COALITIONS), -1, dtype=np.float32)}

    with workspace.lock():
        write_archive(workspace, DECOMPOSITION, values, metadata, rows())
        workspace.clear()
    return path


def grow(path: Path, images: int) -> None:
    """Let the worths say that they have many rows; each chunk is the same."""
    rows = 64
    with h5py.File(path, "r+") as file:
        first = file["worth"][:1]
        del file["worth"]
        made = file.create_dataset(
            "worth", (images, COALITIONS), "f4", chunks=(rows, COALITIONS), compression="gzip",
            shuffle=True, fletcher32=True,
        )  # fmt: skip
        made[:rows] = np.full((rows, COALITIONS), first[0, 0])
        mask, data = made.id.read_direct_chunk((0, 0))
        for start in range(rows, images, rows):
            made.id.write_direct_chunk((start, 0), data, mask)


def test_constant_chunks_are_refused_by_their_size(one: Archive, tmp_path: Path) -> None:
    """Two megabytes took 8.5 GB of memory, and minutes."""
    path = tmp_path / "bomb.h5"
    path.write_bytes(one.path.read_bytes())
    grow(path, 32768)
    assert path.stat().st_size < 8_000_000
    said = "unpacks to 2,1", "set the environment variable IASIDE_MAX_UNPACKED"
    for words in (
        ("verify", path), ("show", path), ("merge", path, one.path, "-o", tmp_path / "m.h5"),
        ("extend", path, "--budget", "9"), ("convert", path, "-o", tmp_path / "a.csv"),
        ("convert", path, "-o", tmp_path / "a.nc"),
    ):  # fmt: skip
        in_process(*words).fails(*said)
    with pytest.raises(ArchiveError, match="unpacks to"):
        iaside_onnx.open_archive(path)


def test_rows_without_data_are_refused(one: Archive, tmp_path: Path) -> None:
    """A billion images of fill values, for which the file holds nothing."""
    path = tmp_path / "bomb.h5"
    path.write_bytes(one.path.read_bytes())
    with h5py.File(path, "r+") as file:
        del file["worth"]
        file.create_dataset("worth", (10**9, COALITIONS), "f4", chunks=(1, COALITIONS))
    in_process("show", path).fails("'worth' is only partly filled")
    in_process("verify", path).fails("'worth' is only partly filled")


def test_chunks_that_are_larger_than_the_variable_are_refused(one: Archive, tmp_path: Path) -> None:
    """Each is unpacked whole, for a single row."""
    path = tmp_path / "bomb.h5"
    path.write_bytes(one.path.read_bytes())
    with h5py.File(path, "r+") as file:
        del file["phi"]
        file.create_dataset(
            "phi", data=np.zeros(BANDS), chunks=(1 << 22,), maxshape=(None,), compression="gzip"
        )
    in_process("show", path).fails("'phi' has chunks that are larger than itself")


def test_who_knows_the_archive_can_read_it(one: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound without a way out would keep somebody from their own results."""
    monkeypatch.setenv("IASIDE_MAX_UNPACKED", "1000")
    in_process("show", one.path).fails("unpacks to", "(1,000 are allowed)")
    for wrong in ("abc", "-1", "9" * 30):
        monkeypatch.setenv("IASIDE_MAX_UNPACKED", wrong)
        in_process("show", one.path).fails("IASIDE_MAX_UNPACKED is", "not a number")
    monkeypatch.setenv("IASIDE_MAX_UNPACKED", str(1 << 40))
    in_process("show", one.path).succeeds()
    assert iaside_onnx.verify(one.path).problems == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_stays_small_within_the_bound(one: Archive, tmp_path: Path) -> None:
    """Long names beside each of 16,384 worths, or all worths at once."""
    plain = peak("show", one.path)
    many = repeated(one, tmp_path / "many.h5", 3500, "a")
    assert many.stat().st_size < 3_000_000
    wide = repeated(one, tmp_path / "wide.h5", 5, "n" * 1500)
    found = {
        "verify": peak("verify", many),
        "show": peak("show", many),
        "merge": peak("merge", many, one.path, "-o", tmp_path / "m.h5"),
        "extend": peak("extend", many, "--budget", "9"),
        "NetCDF": peak("convert", many, "-o", tmp_path / "a.nc"),
        **{
            ending: peak("convert", wide, "--table", "worth", "-o", tmp_path / f"a.{ending}")
            for ending in ("csv", "json", "parquet")
        },
    }
    assert (tmp_path / "a.nc").stat().st_size > 200_000_000
    # PyArrow alone takes some of it.
    assert {name: size for name, size in found.items() if size > plain + 300} == {}

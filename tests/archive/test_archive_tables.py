"""Archives as tables: the same numbers, with their units, in what other programs read."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray

import iaside_onnx
from iaside_onnx.errors import OptionError
from tests.support.command import CNN, PICTURES, in_process


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> iaside_onnx.Archive:
    """A sample in which some images have a pair more than others."""
    path = tmp_path_factory.mktemp("sampled") / "a.h5"
    return iaside_onnx.decompose(
        CNN, PICTURES, path, limit=20, bands=4, method="sampled", budget=180
    )


def stored(archive: iaside_onnx.Archive, name: str) -> Any:
    """A variable, by HDF5 alone."""
    with h5py.File(archive.path) as file:
        return file[name][()]


def rows_of(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    return head, rows


def test_contributions_as_csv(bundled_archive: iaside_onnx.Archive, tmp_path: Path) -> None:
    """A row in the wrong place would give an image another one's contributions."""
    path = tmp_path / "a.csv"
    iaside_onnx.convert(bundled_archive, path)
    head, rows = rows_of(path)
    assert head == ["image", "image_id", "label", "predicted", "band", "band_low", "band_high",
                    "phi_image [nat]"]  # fmt: skip
    phi = stored(bundled_archive, "phi_image")
    assert len(rows) == phi.size
    ids = [name.decode() for name in stored(bundled_archive, "image_id")]
    for row in rows:
        place = ids.index(row[1])
        assert int(row[0]) == stored(bundled_archive, "image")[place]
        assert int(row[2]) == stored(bundled_archive, "label")[place]
        assert float(row[7]) == phi[place, int(row[4])]


def test_bands_as_json(bundled_archive: iaside_onnx.Archive, tmp_path: Path) -> None:
    """With where it came from, and units; valid JSON without NaN."""
    path = tmp_path / "a.json"
    iaside_onnx.convert(bundled_archive, path, "bands")
    data = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(word))
    np.testing.assert_array_equal(data["columns"]["psi_low"], stored(bundled_archive, "psi_low"))
    assert (data["units"]["phi"], data["units"]["psi"]) == ("nat", "1")
    assert data["sis"] == float(stored(bundled_archive, "sis"))
    assert data["metadata"]["model_sha256"] == bundled_archive.metadata.model_sha256


def test_worths_of_a_sample_as_parquet(sampled: iaside_onnx.Archive, tmp_path: Path) -> None:
    """A slot that was not evaluated is no worth, and each has its own coalition."""
    path = tmp_path / "a.parquet"
    iaside_onnx.convert(sampled, path, "worth")
    table = pq.read_table(path)
    worth, masks = stored(sampled, "worth"), stored(sampled, "coalition")
    assert np.isnan(worth).any()
    done = ~np.isnan(worth)
    np.testing.assert_array_equal(table["worth"].to_numpy(), worth[done])
    np.testing.assert_array_equal(table["coalition"].to_numpy(), masks[done])
    assert table.schema.field("worth").metadata == {b"units": b"nat"}
    about = json.loads((table.schema.metadata or {})[b"iaside"])
    assert about["model_sha256"] == sampled.metadata.model_sha256


def test_netcdf_opens_with_the_default_engine(
    bundled_archive: iaside_onnx.Archive, tmp_path: Path
) -> None:
    """All variables, units and attributes, and text as text."""
    path = tmp_path / "a.nc"
    iaside_onnx.convert(bundled_archive, path)
    with xarray.open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset["worth"], stored(bundled_archive, "worth"))
        assert dataset["worth"].dims == ("image", "coalition")
        assert dataset["phi"].attrs["units"] == "nat"
        assert dataset["image_id"].values.tolist() == bundled_archive["image_id"].tolist()
        assert dataset.attrs["model_sha256"] == bundled_archive.metadata.model_sha256


def test_bad_output(bundled_archive: iaside_onnx.Archive, tmp_path: Path) -> None:
    """One sentence each; the archive stays as it is."""
    source = bundled_archive.path
    in_process("convert", source, "-o", tmp_path / "a.xlsx").fails("end its name in", code=2)
    in_process("convert", source, "-o", tmp_path / "no" / "a.csv").fails("create it", code=2)
    in_process("convert", tmp_path / "none.h5", "-o", tmp_path / "a.csv").fails("does not exist")
    link = tmp_path / "a.nc"
    link.symlink_to(source)
    data = source.read_bytes()
    with pytest.raises(OptionError, match="is the archive itself"):
        iaside_onnx.convert(bundled_archive, link)
    with pytest.raises(OptionError, match="unknown table"):
        iaside_onnx.convert(bundled_archive, tmp_path / "a.csv", "images")
    assert source.read_bytes() == data
    in_process("convert", source, "-o", tmp_path / "a.csv", "--table", "bands").succeeds()

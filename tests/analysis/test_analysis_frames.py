"""Archives as xarray data sets and pandas tables: what HDF5 holds, and read as it was checked."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
import pytest
import xarray

from iaside_onnx import Archive, open_archive
from iaside_onnx.errors import ArchiveError, OptionError
from tests.support.sampling import copied


def stored(archive: Archive, name: str) -> Any:
    """A variable, by HDF5 alone; text as str."""
    with h5py.File(archive.path) as file:
        values = file[name][()]
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values


@pytest.mark.parametrize("fixture", ["bundled_archive", "sampled"])
def test_a_data_set_holds_every_variable(fixture: str, request: pytest.FixtureRequest) -> None:
    """Values, axes or units would be others than those in the file."""
    archive: Archive = request.getfixturevalue(fixture)
    data = archive.to_xarray()
    with h5py.File(archive.path) as file:
        assert {str(name) for name in data.variables} == set(file)
        for name, dataset in file.items():
            variable = data[name]
            wanted = [dim.label or dim[0].name.strip("/") for dim in dataset.dims if len(dim)]
            assert list(variable.dims) == ([name] if dataset.is_scale else wanted), name
            assert variable.attrs["long_name"] == dataset.attrs["long_name"].decode()
            unit = dataset.attrs.get("units", b"").decode()
            assert variable.attrs.get("units", "") == unit, name
    for name in archive:
        np.testing.assert_array_equal(data[name].values, stored(archive, name), err_msg=name)
    assert data.attrs["model_sha256"] == archive.metadata.model_sha256
    assert data.attrs["seed"] == 0


def test_labels_and_radii_are_coordinates(bundled_archive: Archive) -> None:
    """`groupby("label")` and selecting by a label need them on the axis of the images."""
    data = bundled_archive.to_xarray()
    on_axis = {str(name): values.dims for name, values in data.coords.items()}
    assert on_axis == {
        "image": ("image",), "image_id": ("image",), "image_sha256": ("image",),
        "label": ("image",), "predicted": ("image",), "band": ("band",), "band_low": ("band",),
        "band_high": ("band",), "coalition": ("coalition",),
    }  # fmt: skip
    labels, phi = stored(bundled_archive, "label"), stored(bundled_archive, "phi_image")
    by_label = data.phi_image.groupby("label").mean()
    assert by_label["label"].values.tolist() == sorted({*labels.tolist()})
    for label in {*labels.tolist()}:
        mean = np.mean([row for row, own in zip(phi, labels, strict=True) if own == label], axis=0)
        np.testing.assert_allclose(by_label.sel(label=label).values, mean, rtol=1e-12)


KEYS = [
    (slice(3, 5),),
    (slice(None), 7),
    (-1, -1),
    (slice(None, None, -2), slice(60, 3, -5)),
    ([5, 2, 2], slice(1, 4)),
    (slice(0, 0),),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_parts_of_the_worths_are_those_of_numpy(bundled_archive: Archive, key: Any) -> None:
    """What is read on demand would be another part than the one that was asked for."""
    data = bundled_archive.to_xarray()
    np.testing.assert_array_equal(data["worth"][key].values, stored(bundled_archive, "worth")[key])


def test_worths_are_read_when_they_are_used(bundled_archive: Archive, tmp_path: Path) -> None:
    """The worths of a large archive do not fit into memory."""
    path = copied(bundled_archive, tmp_path)
    data = open_archive(path).to_xarray()
    assert not data["worth"].variable._in_memory
    worth = stored(bundled_archive, "worth")
    part = data["worth"].isel(image=slice(2, 4))
    with h5py.File(path, "r+") as file:
        file["worth"][3, 0] = -1.5
    assert float(part[1, 0]) == -1.5 != worth[3, 0]
    path.unlink()
    assert data["phi"].size == 6
    with pytest.raises(ArchiveError, match="the worths cannot be read"):
        data["worth"].load()


def test_no_attribute_decides_what_a_value_is(bundled_archive: Archive, tmp_path: Path) -> None:
    """By itself xarray multiplies by a `scale_factor` that somebody has put into the file since."""
    path = copied(bundled_archive, tmp_path)
    archive = open_archive(path)
    with h5py.File(path, "r+") as file:
        for name in ("worth", "phi"):
            file[name].attrs["scale_factor"] = 2.0
            file[name].attrs["_FillValue"] = file[name][()].flat[0]
    with xarray.open_dataset(path, engine="h5netcdf") as decoded:
        assert not np.array_equal(decoded["worth"], stored(bundled_archive, "worth"))
    data = archive.to_xarray()
    for name in ("worth", "phi"):
        np.testing.assert_array_equal(data[name].values, stored(bundled_archive, name))
        assert set(data[name].attrs) == {"long_name", "units"}


def test_a_data_set_crosses_processes_and_files(bundled_archive: Archive, tmp_path: Path) -> None:
    """Dask sends data sets to its workers, and people keep them as NetCDF."""
    data = bundled_archive.to_xarray()
    sent = pickle.loads(pickle.dumps(data))  # noqa: S301  # made here
    assert sent.identical(data)
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as kept:
        assert kept.equals(data)
        assert kept.attrs == data.attrs


def test_contributions_are_a_table(bundled_archive: Archive) -> None:
    """A row would hold another image's or band's contribution."""
    table = bundled_archive.to_dataframe()
    phi = stored(bundled_archive, "phi_image")
    assert list(table.columns) == ["image", "image_id", "label", "predicted", "band", "band_low",
                                   "band_high", "phi_image"]  # fmt: skip
    assert len(table) == phi.size
    assert table.index.tolist() == list(range(phi.size))
    ids = stored(bundled_archive, "image_id").tolist()
    for row in table.itertuples():
        assert row.phi_image == phi[ids.index(row.image_id), row.band]
        assert row.label == stored(bundled_archive, "label")[ids.index(row.image_id)]
        assert row.band_low == stored(bundled_archive, "band_low")[row.band]
    assert table.attrs["units"]["phi_image"] == "nat"
    assert table.phi_image.dtype == np.float64


def test_worths_that_were_not_evaluated_have_no_row(sampled: Archive) -> None:
    """An empty slot of a sample would be a worth of NaN."""
    table = sampled.to_dataframe("worth")
    worth, masks = stored(sampled, "worth"), stored(sampled, "coalition")
    done = ~np.isnan(worth)
    assert not done.all()
    np.testing.assert_array_equal(table["worth"], worth[done])
    np.testing.assert_array_equal(table["coalition"], masks[done])


def test_bands_are_a_table(bundled_archive: Archive) -> None:
    """`contributions` would be taken whatever was asked for."""
    table = bundled_archive.to_dataframe("bands")
    assert isinstance(table, pandas.DataFrame)
    np.testing.assert_array_equal(table["psi_high"], stored(bundled_archive, "psi_high"))


def test_an_unknown_table_is_named(bundled_archive: Archive) -> None:
    """A KeyError of a dictionary inside tells nobody which tables there are."""
    with pytest.raises(OptionError, match="unknown table 'band': use contributions, bands, worth"):
        bundled_archive.to_dataframe("band")


@pytest.mark.parametrize(
    ("package", "call", "extra"),
    [
        ("xarray", "to_xarray()", "xarray"),
        ("pandas", "to_dataframe()", "pandas"),
        ("matplotlib", "plot()", "plot"),
    ],
)
def test_a_missing_extra_is_named(
    package: str, call: str, extra: str, bundled_archive: Archive
) -> None:
    """A bare ImportError does not say what to install, and one at opening hides the archive."""
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import iaside_onnx; from iaside_onnx.errors import ExtraMissingError\n"
        f"archive = iaside_onnx.open_archive({str(bundled_archive.path)!r})\n"
        f"try: archive.{call}\n"
        "except ExtraMissingError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"pip install 'iaside-onnx[{extra}]'" in done.stdout

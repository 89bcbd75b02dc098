"""Attributes that strangers put into an archive: refused in one sentence, whatever reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import pytest

import iaside_onnx
from iaside_onnx import Archive
from iaside_onnx.archive import Failure, Shard, Workspace, digest_of
from iaside_onnx.archive.strict import MAX_TEXT, json_text, parse_json
from iaside_onnx.errors import ArchiveError
from tests.support.command import Outcome, in_process
from tests.support.editing import edited

DEEP = "[" * 900 + "]" * 900
BAD_JSON = {
    "infinite": "1e999",
    "negative": "-1e999",
    "nan": "NaN",
    "infinity": "Infinity",
    "deep": DEEP,
    "deep objects": '{"a":' * 900 + "1" + "}" * 900,
    "half a character": '"\\ud800"',
    "long": '"' + "a" * MAX_TEXT + '"',
}
JSON_ATTRIBUTES = ("options", "preprocess", "model_external", "profile", "sample")
# What CF conventions let a reader do to values, and what HDF5 takes for the name of an axis.
DECODING: dict[str, tuple[str, str, object]] = {
    "time": ("image", "units", "days since 99999-01-01"),
    "other unit": ("phi", "units", "bit"),
    "calendar": ("phi", "calendar", "nonsuch"),
    "unknown codec": ("image_id", "_Encoding", "nonsuch"),
    "no text codec": ("image_id", "_Encoding", "rot13"),
    "codec of numbers": ("phi", "_Encoding", "utf-8"),
    "scale": ("phi", "scale_factor", 2.0),
    "offset": ("phi", "add_offset", "x"),
    "fill": ("psi", "_FillValue", 0.0),
    "missing": ("psi", "missing_value", 0.0),
    "type": ("phi", "dtype", "bool"),
    "sign": ("image", "_Unsigned", "true"),
    "coordinates": ("phi", "coordinates", "sis"),
    "axis": ("band", "NAME", "This is a netCDF dimension but not a netCDF variable.         6"),
    "new axis": ("phi", "CLASS", "DIMENSION_SCALE"),
    "many": ("image_id", "_Encoding", 3.0),
}


def everything(path: Path, folder: Path) -> list[Outcome]:
    """What every command that reads an archive says of it."""
    return [
        in_process("show", path),
        in_process("show", path, "--json"),
        *(
            in_process("convert", path, "-o", folder / f"out.{ending}")
            for ending in ("csv", "json", "parquet", "nc")
        ),
        in_process("verify", path),
        in_process("merge", path, path, "-o", folder / "merged.h5"),
        in_process("extend", path, "--budget", "9"),
    ]


def fails_everywhere(path: Path, folder: Path, *phrases: str) -> None:
    for outcome in everything(path, folder):
        outcome.fails(*phrases)
    with pytest.raises(ArchiveError):
        iaside_onnx.open_archive(path)
    assert [found.name for found in folder.iterdir()] == [path.name]


@pytest.mark.parametrize("what", BAD_JSON)
def test_json_that_other_programs_refuse_is_refused(
    what: str, bundled_archive: Archive, tmp_path: Path
) -> None:
    """A traceback from whatever prints it, or a file that is called JSON and is not."""

    def edit(file: Any) -> None:
        given = file.attrs["options"].decode()
        file.attrs.create("options", (given[:-1] + f', "more": {BAD_JSON[what]}}}').encode())

    path = edited(bundled_archive.path, tmp_path, edit, sign=what != "long")
    fails_everywhere(path, tmp_path, "options")


@pytest.mark.parametrize("name", JSON_ATTRIBUTES)
@pytest.mark.parametrize("what", ["infinite", "deep"])
def test_every_attribute_of_json_goes_through_one_parser(
    name: str, what: str, bundled_archive: Archive, tmp_path: Path
) -> None:
    """One that is not looked at ends in a traceback."""

    def edit(file: Any) -> None:
        file.attrs[name] = f'{{"more": {BAD_JSON[what]}}}'

    path = edited(bundled_archive.path, tmp_path, edit, sign=True)
    with pytest.raises(ArchiveError, match=f"the attribute '{name}' is missing or unreadable"):
        iaside_onnx.open_archive(path)
    in_process("verify", path).fails(name)


@pytest.mark.parametrize("what", BAD_JSON)
def test_what_is_parsed_is_what_is_written(what: str) -> None:
    """An archive that iaside writes and cannot read again."""
    with pytest.raises(ValueError):  # noqa: PT011  # each has other words
        parse_json(BAD_JSON[what])
    if what in ("infinite", "deep", "long"):
        value: Any = {"infinite": float("inf"), "long": "a" * MAX_TEXT}.get(what)
        if what == "deep":
            for _ in range(200):
                value = [value]
        with pytest.raises(ValueError):  # noqa: PT011
            json_text(value)


def test_json_that_is_usual_stays() -> None:
    """Bounds that are too tight refuse archives that were merged many times."""
    value: Any = {"x": [1, 2.5, None, True, "\u00e4", 10**30]}
    for _ in range(30):
        value = {"given": {"parts": [value]}}
    assert json.loads(json_text(value)) == parse_json(json_text(value)) == value


@pytest.mark.parametrize("what", DECODING)
def test_attributes_that_change_values_are_refused(
    what: str, bundled_archive: Archive, tmp_path: Path
) -> None:
    """Xarray shows other numbers than h5py, or a traceback, and `verify` says that all is well."""
    name, attribute, value = DECODING[what]
    path = edited(
        bundled_archive.path,
        tmp_path,
        lambda file: file[name].attrs.__setitem__(attribute, value),
        sign=True,
    )
    fails_everywhere(path, tmp_path, attribute, repr(name))


def test_coordinates_of_the_file_are_refused(bundled_archive: Archive, tmp_path: Path) -> None:
    """Xarray looks for variables that this attribute of the root names."""
    path = edited(
        bundled_archive.path,
        tmp_path,
        lambda file: file.attrs.__setitem__("coordinates", "nonsuch"),
        sign=True,
    )
    fails_everywhere(path, tmp_path, "'coordinates'")


def test_no_class_of_python_is_named(bundled_archive: Archive, tmp_path: Path) -> None:
    """`np.float64(3.0)` is no word of whoever reads it."""
    path = edited(
        bundled_archive.path,
        tmp_path,
        lambda file: file["phi"].attrs.__setitem__("long_name", 3.0),
        sign=True,
    )
    assert iaside_onnx.verify(path).problems == [
        "the long_name of 'phi' is '3.0', not 'mean contribution of the band'"
    ]


@pytest.mark.parametrize("text", ['[[1e999, "a", "b"]]', DEEP, "[1]"])
def test_failures_in_a_shard_are_parsed_strictly(text: str, tmp_path: Path) -> None:
    """A traceback in every attempt to resume."""
    import hashlib

    import numpy as np

    workspace = Workspace(tmp_path / "out.h5")
    with workspace.lock():
        workspace.write(0, Shard({"image": np.zeros(0)}, (Failure(3, "a", "b"),)))
        path = workspace.path(0)
        with h5py.File(tmp_path / "shard.h5", "w") as file:
            file["image"], file["failures"] = np.zeros(0), text
            file.attrs["batch_size"] = 1
        data = (tmp_path / "shard.h5").read_bytes()
        path.write_bytes(data + hashlib.sha256(data).digest())
        with pytest.raises(ArchiveError, match="damaged shard"):
            workspace.read(0, np.array([3]))


def test_an_archive_as_it_is_written_is_well(bundled_archive: Archive, tmp_path: Path) -> None:
    """Otherwise what is refused above could be refused always."""
    path = edited(bundled_archive.path, tmp_path, lambda _: None, sign=True)
    with h5py.File(path) as file:
        assert digest_of(file) == bundled_archive.metadata.digest
    assert iaside_onnx.verify(path).problems == []
    for outcome in everything(path, tmp_path)[:7]:
        outcome.succeeds()

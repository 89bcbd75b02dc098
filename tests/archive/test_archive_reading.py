"""Archives are parsed strictly: what is missing, of another kind or from elsewhere is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx import Archive, open_archive
from iaside_onnx.errors import ArchiveError

# As the design names them, not as the code lists them.
ATTRIBUTES = {
    "schema_version": int, "tool_version": str, "options": dict, "model_name": str,
    "model_sha256": str, "model_external": dict, "model_size": int, "model_opset": int,
    "model_producer": str, "preprocess": dict, "runtime": str, "runtime_version": str,
    "provider": str, "device": str, "precision": str, "seed": int, "started": str,
    "finished": str, "images_asked": int, "images_done": int, "images_failed": int,
    "accuracy": float, "uniform": int, "smallest_bands": list, "notes": list,
}  # fmt: skip
TYPES = {
    "worth": "float32", "coalition": "uint64", "label": "int64", "predicted": "int64",
    "image": "int64", "band": "int64", "image_id": "S", "image_sha256": "S",
    "log_probability_whole": "float32", "log_probability_empty": "float32", "floored": "int64",
    "phi_image": "float64", "phi": "float64", "phi_low": "float64", "phi_high": "float64",
    "psi": "float64", "psi_low": "float64", "psi_high": "float64", "sis": "float64",
    "sis_low": "float64", "sis_high": "float64", "band_low": "float64", "band_high": "float64",
}  # fmt: skip


@pytest.fixture
def copy(bundled_archive: Archive, tmp_path: Path) -> Path:
    """An archive to spoil."""
    return Path(shutil.copy(bundled_archive.path, tmp_path / "copy.h5"))


def refused(path: Path, *phrases: str) -> None:
    """Assert that the file is refused by name, with these words."""
    with pytest.raises(ArchiveError) as caught:
        open_archive(path)
    for phrase in ("copy.h5", *phrases):
        assert phrase in str(caught.value)


def edit(path: Path, change: Callable[[h5py.File], object]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def replace(file: h5py.File, name: str, values: Any) -> None:
    del file[name]
    file[name] = values


def test_the_archive_has_every_attribute_that_the_design_lists(bundled_archive: Archive) -> None:
    """What is needed to explain a result later is not there."""
    with h5py.File(bundled_archive.path, "r") as file:
        assert set(file.attrs) == {*ATTRIBUTES, "digest"}
        for name, kind in ATTRIBUTES.items():
            value = file.attrs[name]
            if kind in (dict, list):
                assert isinstance(json.loads(value), kind), name
            else:
                assert isinstance(value.decode() if kind is str else value.item(), kind), name
        assert file.attrs["images_asked"] == file.attrs["images_done"] == 12
        options = json.loads(file.attrs["options"])
    assert options.keys() == {"given", "resolved"}
    assert options["given"]["bands"] == options["resolved"]["bands"] == 6
    meta = bundled_archive.metadata
    assert {name: type(getattr(meta, name)) for name in ATTRIBUTES} == ATTRIBUTES


def test_types_are_those_of_the_design(bundled_archive: Archive) -> None:
    """Twice the size, or half the digits, of what was promised."""
    with h5py.File(bundled_archive.path, "r") as file:
        found = {n: "S" if d.dtype.kind == "S" else str(d.dtype) for n, d in file.items()}
    assert found == TYPES


@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_each_attribute_is_needed_and_parsed(name: str, copy: Path) -> None:
    """An archive without its provenance is shown as if nothing were wrong."""
    edit(copy, lambda file: file.attrs.__setitem__(name, "]" if name != "seed" else 1.5))
    if ATTRIBUTES[name] is str:
        edit(copy, lambda file: file.attrs.__setitem__(name, 3))
    refused(copy, f"the attribute {name!r}")
    edit(copy, lambda file: file.attrs.__delitem__(name))
    refused(copy, name if name != "schema_version" else "not an archive made by iaside")


@pytest.mark.parametrize("name", sorted(n for n, k in ATTRIBUTES.items() if k in (dict, list)))
def test_json_attributes_are_of_the_right_kind(name: str, copy: Path) -> None:
    """A list where options were expected fails somewhere deep inside, with a traceback."""
    edit(copy, lambda file: file.attrs.__setitem__(name, "3"))
    refused(copy, f"the attribute {name!r}")


@pytest.mark.parametrize("options", ["{}", '{"resolved": []}', '{"resolved": {"bands": 3}}'])
def test_options_say_how_the_run_was_made(options: str, copy: Path) -> None:
    """`show` fails with a KeyError on an archive that was accepted."""
    edit(copy, lambda file: file.attrs.__setitem__("options", options))
    refused(copy, "'options' does not say how the run was made")


@pytest.mark.parametrize("name", sorted(TYPES))
def test_each_variable_is_needed(name: str, copy: Path) -> None:
    """A KeyError at the first use, hours after the file was accepted."""
    edit(copy, lambda file: file.__delitem__(name))
    refused(copy, f"the variable {name!r} is missing")


@pytest.mark.parametrize("name", sorted(TYPES.keys() - {"image", "band", "coalition"}))
def test_each_variable_fits_the_others(name: str, copy: Path) -> None:
    """Rows of phi that belong to no image are shown as results."""
    values = open_archive(copy)[name]
    text = values.dtype.kind == "U"
    shorter = np.zeros(3) if values.ndim == 0 else values[:-1]
    edit(copy, lambda file: replace(file, name, shorter.astype("S") if text else shorter))
    refused(copy, f"the variable {name!r} is", "was expected")


@pytest.mark.parametrize(
    "wrong", [np.array(["a"] * 6, dtype="S1"), np.arange(6), np.zeros((6, 1)), np.float64(1)],
    ids=["text", "whole numbers", "rank", "scalar"],
)  # fmt: skip
def test_a_variable_of_another_type_is_refused(wrong: Any, copy: Path) -> None:
    """Text, whole numbers or another rank where the design has float64."""
    edit(copy, lambda file: replace(file, "phi", wrong))
    refused(copy, "the variable 'phi' is", "float64 of shape (6,) was expected")


def test_no_images_are_no_archive(copy: Path) -> None:
    """Means over nothing are warnings and NaN."""
    edit(copy, lambda file: replace(file, "image", np.zeros(0, dtype=np.int64)))
    refused(copy, "'image'")


def refilter(file: h5py.File, code: int) -> None:
    """Make phi anew with an optional filter that no HDF5 has built in."""
    values = file["phi"][()]
    del file["phi"]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((6,))
    properties.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (1,))
    made = h5py.h5d.create(
        file.id, b"phi", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((6,)), properties
    )
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, values)


def commit(file: h5py.File) -> None:
    file["kind"] = np.dtype("f8")
    file.move("phi", "old")
    file.create_dataset("phi", (6,), file["kind"])
    del file["old"], file["kind"]


HOSTILE: dict[str, tuple[str, Callable[[h5py.File, Path], object]]] = {
    "external link": (
        "is a link, which is not followed",
        lambda file, other: replace(file, "phi", h5py.ExternalLink(str(other), "phi")),
    ),
    "soft link": (
        "is a link, which is not followed",
        lambda file, _: replace(file, "phi", h5py.SoftLink("/psi")),
    ),
    "link under another name": (
        "'more' is a link",
        lambda file, other: file.__setitem__("more", h5py.ExternalLink(str(other), "/")),
    ),
    "virtual dataset": (
        "its values are in another",
        lambda file, other: virtual(file, other),
    ),
    "external storage": (
        "its values are in another",
        lambda file, other: (
            file.__delitem__("phi")
            or file.create_dataset("phi", (6,), "f8", external=[(str(other), 0, 48)])
        ),
    ),
    "group": (
        "'phi' is not a dataset of this file",
        lambda file, _: file.__delitem__("phi") or file.create_group("phi"),
    ),
    "user-defined filter": (
        "is stored with the filter 32001, not with gzip",
        lambda file, _: refilter(file, 32001),
    ),
    "user-defined type": (
        "'phi' has a type that is neither a number",
        lambda file, _: commit(file),
    ),
    "compound type": (
        "'phi' has a type that is neither a number",
        lambda file, _: replace(file, "phi", np.zeros(6, dtype=[("a", "f8"), ("b", "i4")])),
    ),
    "object type": (
        "'phi' has a type that is neither a number",
        lambda file, _: (
            file.__delitem__("phi") or file.create_dataset("phi", (6,), h5py.string_dtype())
        ),
    ),
    "reference": (
        "'more' has a type that is neither a number",
        lambda file, _: file.create_dataset("more", data=file["phi"].ref, dtype=h5py.ref_dtype),
    ),
    "attribute of many numbers": (
        "the attribute 'seed' of the file is not a single number or text",
        lambda file, _: file.attrs.__setitem__("seed", np.zeros(1000)),
    ),
    "attribute of a dataset": (
        "the attribute 'units' of the variable 'phi' is not a single number or text",
        lambda file, _: file["phi"].attrs.__setitem__("units", file["psi"].ref),
    ),
    "huge chunks": (
        "'more' has chunks of 1073741824 bytes",
        lambda file, _: file.create_dataset("more", (1 << 28,), "f4", chunks=(1 << 28,)),
    ),
}


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((6,), "float64")
    layout[:] = h5py.VirtualSource(str(other), "phi", (6,))
    del file["phi"]
    file.create_virtual_dataset("phi", layout)


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_a_stranger_can_build_in_is_refused(kind: str, copy: Path, tmp_path: Path) -> None:
    """An archive shows what lies in files that nobody named, or runs the code of a plug-in."""
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["phi"] = np.zeros(6)
    says, change = HOSTILE[kind]
    edit(copy, lambda file: change(file, other))
    refused(copy, says)


def test_a_small_file_cannot_ask_for_much_memory(copy: Path) -> None:
    """A stranger's archive of a few kilobytes takes all memory."""
    size = 10**13

    def change(file: h5py.File) -> None:
        for name in ("image", "label"):
            del file[name]
            file.create_dataset(name, (size,), "int64", chunks=(1024,))

    edit(copy, change)
    refused(copy, "'image' is only partly filled")


def test_a_bomb_of_text_is_refused(copy: Path) -> None:
    """Names of 20 MB each in a file of some kilobytes, which is read as a whole."""

    def change(file: h5py.File) -> None:
        names = np.zeros(file["image"].size, dtype="S20000000")
        del file["image_id"]
        file.create_dataset("image_id", data=names, compression="gzip", fletcher32=True)

    edit(copy, change)
    assert copy.stat().st_size < 2_000_000
    refused(copy, "far more than the size of the file")


def test_another_schema_is_said(copy: Path) -> None:
    """A newer archive is misread by an older version."""
    edit(copy, lambda file: file.attrs.__setitem__("schema_version", 7))
    refused(copy, "has schema version 7, and this version of iaside knows up to 1; upgrade")


def test_damage_inside_is_found(copy: Path) -> None:
    """The checksums are written and never looked at."""
    with h5py.File(copy, "r") as file:
        info = file["phi_image"].id.get_chunk_info(0)
        worth = file["worth"].id.get_chunk_info(0)
    data = bytearray(copy.read_bytes())
    data[info.byte_offset + info.size // 2] ^= 0x10
    copy.write_bytes(data)
    refused(copy, "damaged")
    data[info.byte_offset + info.size // 2] ^= 0x10
    data[worth.byte_offset + worth.size // 2] ^= 0x10
    copy.write_bytes(data)
    with pytest.raises(ArchiveError, match="worths cannot be read"):
        open_archive(copy).worth()


def test_variables_cannot_be_changed_by_accident(bundled_archive: Archive) -> None:
    """One reader changes what the next one sees."""
    with pytest.raises(ValueError, match="read-only"):
        bundled_archive["phi"][0] = 1.0
    assert isinstance(bundled_archive, iaside_onnx.Archive)

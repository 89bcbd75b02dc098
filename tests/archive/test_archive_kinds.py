"""A second kind of archive, declared here, goes through everything that handles archives."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx.analysis import register_tables
from iaside_onnx.analysis.conversion import _TABLES
from iaside_onnx.archive import (
    ArchiveFile,
    Failure,
    Metadata,
    Rows,
    Schema,
    Shard,
    Variable,
    Workspace,
    check_file,
    digest_of,
    failed_variables,
    open_any,
    open_archive,
    register_kind,
    write_archive,
)
from iaside_onnx.archive.reading import _KINDS
from iaside_onnx.archive.schema import TEXT
from iaside_onnx.errors import ArchiveError, OptionError
from tests.runs.running import run_command

IMAGES, PERTURBATIONS, BANDS = 300, 3, 4

SCHEMA = Schema(
    "damage",
    {
        "image": Variable(("image",), "int64", "1", "position of the image", sharded=True),
        "image_id": Variable(("image",), TEXT, "", "name of the image", sharded=True),
        "perturbation": Variable(("perturbation",), "int64", "1", "number of the perturbation"),
        "perturbation_name": Variable(("perturbation",), TEXT, "", "name of the perturbation"),
        "band": Variable(("band",), "int64", "1", "band"),
        "attenuation": Variable(("perturbation", "band"), "float64", "1", "what is left of a band"),
        "damage": Variable(
            ("image", "perturbation", "band"), "float32", "nat", "damage by band",
            streamed=True, sharded=True,
        ),
        "mean_damage": Variable((), "float64", "nat", "mean over all", estimated=True),
        "failed_id": Variable(("failed",), TEXT, "", "name of an image that failed", False),
        "failed_reason": Variable(("failed",), TEXT, "", "why it failed", False),
        "failed": Variable(("failed",), "int64", "1", "position of a failed image", False),
    },
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageMetadata(Metadata):
    """Attributes of the second kind."""

    severity: float
    names: list[str]
    budgets: dict[str, float] | None = None


class DamageArchive(ArchiveFile):
    """The second kind of archive."""

    metadata: DamageMetadata

    def _parse(self) -> None:
        if not 0 <= self.metadata.severity <= 5:
            raise ArchiveError(f"{self.path}: there is no severity {self.metadata.severity}")


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    register_kind(SCHEMA, DamageMetadata, DamageArchive)
    register_tables(
        "damage",
        {
            "damage": ("image", "image_id", "perturbation", "perturbation_name", "band", "damage"),
            "transfer": ("perturbation", "band", "attenuation"),
        },
    )
    try:
        yield
    finally:
        del _KINDS["damage"], _TABLES["damage"]


def metadata(**changes: Any) -> DamageMetadata:
    made = DamageMetadata(
        schema_version=1, tool_version="0.1.0", model_name="m.onnx", model_sha256="ab" * 32,
        model_external={}, model_size=9, model_opset=17, model_producer="tests",
        runtime="onnxruntime", runtime_version="1", provider="CPUExecutionProvider", device="cpu",
        precision="float32", seed=0, options={"given": {}, "resolved": {}}, preprocess={},
        started="2026-01-01T00:00:00+00:00", finished="2026-01-01T00:00:01+00:00",
        images_asked=IMAGES, images_done=IMAGES - 1, images_failed=1, notes=["ü"], severity=2.5,
        names=["blur", "Größe", "noise"], budgets={"l2": 0.5},
    )  # fmt: skip
    return replace(made, **changes)


def damage() -> np.ndarray[Any, np.dtype[np.float32]]:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((IMAGES, PERTURBATIONS, BANDS), dtype=np.float32)
    values[5, 1, 2] = np.nan
    return values


def values() -> dict[str, Any]:
    return {
        "image": np.arange(IMAGES),
        "image_id": [f"図-{i}" for i in range(IMAGES)],
        "perturbation": np.arange(PERTURBATIONS),
        "perturbation_name": ["blur", "Größe", "noise"],
        "band": np.arange(BANDS),
        "attenuation": np.linspace(0, 1, 12).reshape(PERTURBATIONS, BANDS),
        "mean_damage": np.float64(0.25),
        **failed_variables([Failure(IMAGES, "bad", "because")]),
    }


def rows() -> Iterator[Rows]:
    every = damage()
    for start in range(0, IMAGES, 77):
        yield {"damage": every[start : start + 77]}


def written(path: Path, **changes: Any) -> Path:
    workspace = Workspace(path)
    with workspace.lock():
        write_archive(workspace, SCHEMA, values(), metadata(**changes), rows())
        workspace.clear()
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("kind") / "damage.h5")


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "copied.h5"))


def test_it_is_read_as_its_kind(made: Path) -> None:
    """Values, types or attributes that another kind would have."""
    archive = open_any(made)
    assert type(archive) is DamageArchive
    assert archive.schema is SCHEMA
    assert sorted(archive.names) == sorted([*values(), "damage"])
    for name, wanted in values().items():
        np.testing.assert_array_equal(archive[name], wanted, err_msg=name)
    np.testing.assert_array_equal(archive["damage"], damage())
    np.testing.assert_array_equal(archive.rows("damage", 70, 80), damage()[70:80])
    assert archive["damage"].dtype == np.float32
    assert replace(archive.metadata, digest=None) == metadata()
    assert archive.size("perturbation") == PERTURBATIONS
    pieces = archive.pieces("damage")
    assert [piece.start for piece in pieces[1:]] == [piece.stop for piece in pieces[:-1]]
    assert (pieces[0].start, pieces[-1].stop) == (0, IMAGES)


def test_plain_hdf5_and_xarray_read_it(made: Path) -> None:
    """Nobody can read it without this package."""
    import xarray

    with h5py.File(made) as file:
        assert file.attrs["kind"] == b"damage"
        assert [scale.name for scale in file["damage"].dims[1].values()] == ["/perturbation"]
        assert file["damage"].attrs["units"] == b"nat"
    with xarray.open_dataset(made, engine="h5netcdf") as dataset:
        assert dataset["damage"].dims == ("image", "perturbation", "band")
        np.testing.assert_array_equal(dataset["damage"], damage())


def test_others_refuse_it_with_one_sentence(made: Path, tmp_path: Path) -> None:
    """A traceback about variables that it was never meant to have."""
    with pytest.raises(ArchiveError, match=r"of the kind 'damage'; give .* iaside decompose"):
        open_archive(made)
    with pytest.raises(ArchiveError, match="of the kind 'damage'"):
        iaside_onnx.extend(made, budget=9)
    # These read it in a process that does not know the kind.
    for found in (
        lambda: iaside_onnx.verify(made),
        lambda: iaside_onnx.merge([made, made], "a.h5"),
    ):
        with pytest.raises(ArchiveError, match=r"kind 'damage', which this version .* upgrade"):
            found()
    for command in (("show", made), ("verify", made), ("convert", made, "-o", "a.csv")):
        said = run_command(*command, folder=tmp_path)
        assert said.code == 1
        assert "Traceback" not in said.err
        assert "of the kind 'damage', which this version of iaside does not know" in said.err


@pytest.mark.parametrize("kind", ["x" * 1000, "\x1b[31m", "Damage", 7, 1.5])
def test_a_kind_that_is_not_known_is_one_sentence(kind: Any, copied: Path) -> None:
    """A traceback, or a terminal that a stranger has coloured."""
    with h5py.File(copied, "r+") as file:
        del file.attrs["kind"]
        file.attrs.create("kind", kind.encode() if isinstance(kind, str) else kind)
    for look in (open_any, open_archive, check_file):
        with pytest.raises(ArchiveError) as found:
            look(copied)
        assert len(str(found.value)) < len(str(copied)) + 200
        assert "\x1b" not in str(found.value)
        assert "does not know" in str(found.value)


def test_without_its_kind_it_is_no_decomposition(copied: Path) -> None:
    """Files without a kind are decompositions; this one lacks all that these have."""
    with h5py.File(copied, "r+") as file:
        del file.attrs["kind"]
    with pytest.raises(ArchiveError, match="attribute 'accuracy' is missing"):
        open_any(copied)


def test_a_decomposition_is_not_taken_for_it(bundled_archive: Any, tmp_path: Path) -> None:
    """The kind is what a file says; it must hold what that kind has."""
    path = Path(shutil.copy(bundled_archive.path, tmp_path / "a.h5"))
    with h5py.File(path, "r+") as file:
        file.attrs.create("kind", b"damage")
    with pytest.raises(ArchiveError, match="attribute 'severity' is missing"):
        open_any(path)


def test_what_was_written_is_whole(made: Path) -> None:
    """A check that finds what is not wrong."""
    assert check_file(made) == []


def test_what_only_this_kind_knows_is_checked(tmp_path: Path) -> None:
    """A value that no code of this kind can work with."""
    path = written(tmp_path / "a.h5", severity=9.0)
    with pytest.raises(ArchiveError, match=r"no severity 9\.0"):
        open_any(path)


def _add_variable(file: h5py.File) -> None:
    file.create_dataset("more", data=np.arange(3))


def _add_attribute(file: h5py.File) -> None:
    file.attrs["accuracy"] = 0.5


def _change_attribute(file: h5py.File) -> None:
    file.attrs["severity"] = 1.0


def _change_value(file: h5py.File) -> None:
    file["damage"][17, 1, 1] = 0.0


def _change_units(file: h5py.File) -> None:
    file["damage"].attrs["units"] = "bit"


def _change_type(file: h5py.File) -> None:
    del file["attenuation"]
    file.create_dataset("attenuation", data=np.zeros((PERTURBATIONS, BANDS), np.float32))


SPOILT = {
    "an added variable": (_add_variable, "'more' is in the file, but not in the schema"),
    "an attribute of another kind": (_add_attribute, "attribute 'accuracy' is in the file, but"),
    "an edited attribute": (_change_attribute, "the digest is"),
    "an edited value": (_change_value, "the digest is"),
    "another type": (_change_type, "'attenuation' is of type float32, not float64"),
}


def test_other_units_are_refused(copied: Path) -> None:
    """Readers act upon some units; nothing of such a file is read."""
    with h5py.File(copied, "r+") as file:
        _change_units(file)
    with pytest.raises(ArchiveError, match="the units of 'damage' is 'bit', not 'nat'"):
        open_any(copied)


@pytest.mark.parametrize("what", SPOILT)
def test_what_was_edited_is_found(what: str, copied: Path) -> None:
    """An archive that says what nobody has measured."""
    spoil, says = SPOILT[what]
    with h5py.File(copied, "r+") as file:
        spoil(file)
    problems = check_file(copied)
    assert any(says in problem for problem in problems), problems


def test_a_flipped_byte_is_found(copied: Path) -> None:
    """Damage on disk that becomes a number."""
    data = bytearray(copied.read_bytes())
    with h5py.File(copied) as file:
        chunk = file["damage"].id.get_chunk_info(0)
    data[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    copied.write_bytes(data)
    (problem,) = check_file(copied)
    assert problem.startswith("the variable 'damage' cannot be read at rows 0 to")


@pytest.mark.parametrize("name", ["perturbation_name", "damage", "band"])
def test_a_variable_that_is_missing_is_named(name: str, copied: Path) -> None:
    """An index error, somewhere in NumPy."""
    with h5py.File(copied, "r+") as file:
        del file[name]
    with pytest.raises(ArchiveError, match=f"variable '{name}'.* is (missing|int|S)|'{name}' is"):
        open_any(copied)


@pytest.mark.parametrize(
    ("name", "value"), [("severity", "high"), ("names", b"{}"), ("budgets", b'{"l2": "x"}')]
)
def test_an_attribute_of_another_type_is_named(name: str, value: Any, copied: Path) -> None:
    """A traceback in whatever uses it first."""
    with h5py.File(copied, "r+") as file:
        file.attrs.create(name, value)
        file.attrs["digest"] = digest_of(file)
    with pytest.raises(ArchiveError, match=f"attribute '{name}' is missing or unreadable"):
        open_any(copied)


def test_it_is_converted(made: Path, tmp_path: Path) -> None:
    """Rows of one image under the name of another, or rows that nobody has measured."""
    archive = open_any(made)
    iaside_onnx.convert(archive, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        head, *table = csv.reader(file)
    assert head == [
        "image", "image_id", "perturbation", "perturbation_name", "band", "damage [nat]"
    ]  # fmt: skip
    # One value is NaN, which is no row.
    assert len(table) == damage().size - 1
    for image, name, which, perturbation, band, value in table[:: len(table) // 50]:
        assert name == f"図-{image}"
        assert perturbation == ["blur", "Größe", "noise"][int(which)]
        assert float(value) == float(damage()[int(image), int(which), int(band)])
    iaside_onnx.convert(archive, tmp_path / "a.json", "transfer")
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert found["columns"]["attenuation"] == values()["attenuation"].ravel().tolist()
    assert found["columns"]["band"] == list(range(BANDS)) * PERTURBATIONS
    assert found["mean_damage"] == 0.25
    assert found["metadata"]["severity"] == 2.5
    iaside_onnx.convert(archive, tmp_path / "a.nc")
    iaside_onnx.convert(archive, tmp_path / "a.parquet")
    with pytest.raises(OptionError, match="unknown table 'bands': use damage, transfer"):
        iaside_onnx.convert(archive, tmp_path / "b.csv", "bands")


def test_a_kind_without_tables_has_none(made: Path, tmp_path: Path) -> None:
    """A key error in place of a sentence."""
    schema = replace(SCHEMA, kind="bare")
    register_kind(schema, DamageMetadata, ArchiveFile)
    try:
        workspace = Workspace(tmp_path / "bare.h5")
        with workspace.lock():
            write_archive(workspace, schema, values(), metadata(), rows())
        archive = open_any(tmp_path / "bare.h5")
        with pytest.raises(OptionError, match="kind 'bare' have no tables"):
            iaside_onnx.convert(archive, tmp_path / "a.csv")
        assert made.exists()
    finally:
        del _KINDS["bare"]


def test_its_shards_come_back_as_they_were(tmp_path: Path) -> None:
    """A resumed run differs from an undisturbed one."""
    workspace = Workspace(tmp_path / "out.h5")
    workspace.folder.mkdir()
    shard = Shard(
        {"image": np.arange(4), "image_id": ["a", "ü", "図", "d"], "damage": damage()[:4]},
        (Failure(4, "e", "because"),),
        8,
    )
    workspace.write(0, shard)
    found = workspace.read(0, np.arange(5))
    assert found is not None
    assert sorted(found.values) == sorted(shard.values)
    np.testing.assert_array_equal(found["damage"], shard["damage"])
    assert found["damage"].dtype == np.float32
    assert found["image_id"] == shard["image_id"]
    assert (found.failures, found.batch_size, found.images) == (shard.failures, 8, 4)


def test_what_is_written_twice_is_the_same(made: Path, tmp_path: Path) -> None:
    """A time stamp inside would hide that two runs agree."""
    assert written(tmp_path / "b.h5").read_bytes() == made.read_bytes()
    other = open_any(written(tmp_path / "c.h5", severity=1.0))
    assert other.metadata.digest != open_any(made).metadata.digest

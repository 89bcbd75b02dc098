"""The family of errors: built-in names, pickling, and that no handler of ours swallows them."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest

from iaside_onnx import errors
from iaside_onnx.archive import open_archive
from iaside_onnx.cli import main
from iaside_onnx.errors import (
    ArchiveError,
    IasideError,
    ImageError,
    ModelError,
    OutOfMemoryError,
    PreprocessError,
)
from iaside_onnx.images import open_images, read_preprocess
from iaside_onnx.runtime import read_graph
from tests.support.onnx_models import Net

FAMILY: dict[str, type[IasideError]] = {name: getattr(errors, name) for name in errors.__all__}
BUILT_IN: dict[str, type[Exception]] = {
    "ArchiveError": OSError,
    "EvaluationError": RuntimeError,
    "ExportError": ValueError,
    "ExtraMissingError": ImportError,
    "IasideError": Exception,
    "ImageError": ValueError,
    "ModelError": ValueError,
    "OptionError": ValueError,
    "OutOfMemoryError": MemoryError,
    "PreprocessError": ValueError,
    "RunConflictError": OSError,
    "RuntimeMissingError": ImportError,
    "UnknownOptionError": TypeError,
    "UnknownVariableError": KeyError,
}


@pytest.mark.parametrize("name", FAMILY)
def test_each_error_is_caught_by_its_built_in_name(name: str) -> None:
    """Programs that know Python, and not this package, miss the failure."""
    with pytest.raises(BUILT_IN[name], match=r"^a reason$"):
        raise FAMILY[name]("a reason")
    assert issubclass(FAMILY[name], IasideError)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", FAMILY)
def test_each_error_crosses_processes(name: str, protocol: int) -> None:
    """A worker's error arrives as another one, or without its message."""
    sent = FAMILY[name]("model.onnx: a reason")
    received = pickle.loads(pickle.dumps(sent, protocol))  # noqa: S301  # made here
    assert type(received) is type(sent)
    assert (str(received), received.args) == (str(sent), sent.args)


def _missing_spec(folder: Path) -> None:
    read_preprocess(folder / "missing.json")


def _spec_with_a_key_twice(folder: Path) -> None:
    (folder / "twice.json").write_text('{"mean": 0, "mean": 1}')
    read_preprocess(folder / "twice.json")


def _arrays_without_images(folder: Path) -> None:
    np.savez(folder / "other.npz", first=np.zeros(3), second=np.zeros(3))
    open_images(folder / "other.npz")


def _tar_with_a_sample_twice(folder: Path) -> None:
    with tarfile.open(folder / "twice.tar", "w") as tar:
        for suffix in ("png", "jpg"):
            info = tarfile.TarInfo(f"a.{suffix}")
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    open_images(folder / "twice.tar")


def _weights_outside(folder: Path) -> None:
    model = Net().model()
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../weights.bin")
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    read_graph(folder / "model.onnx")


def _archive_of_a_newer_schema(folder: Path) -> None:
    with h5py.File(folder / "newer.h5", "w") as file:
        file.attrs["schema_version"] = 10**6
    open_archive(folder / "newer.h5")


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        (_missing_spec, PreprocessError, r"\S+missing\.json does not exist; check the path\.?"),
        (_spec_with_a_key_twice, PreprocessError, r"\S+ names 'mean' more than once; .*"),
        (_arrays_without_images, ImageError, r"\S+other\.npz (?!cannot be read).*"),
        (_tar_with_a_sample_twice, ImageError, r"\S+ holds the sample a twice .*; keep one"),
        (_weights_outside, ModelError, r"\S+ keeps weights in .*, outside of its own folder; .*"),
        (_archive_of_a_newer_schema, ArchiveError, r"\S+ has schema version 1000000, .*"),
    ],
)
def test_an_error_is_not_taken_for_the_built_in_one(
    failure: Callable[[Path], None], error: type[IasideError], message: str, tmp_path: Path
) -> None:
    """A handler of ValueError or OSError wraps the message in one that names another cause."""
    with pytest.raises(error, match=f"^{message}$") as raised:
        failure(tmp_path)
    assert not isinstance(raised.value.__cause__ or raised.value.__context__, IasideError)


def test_the_command_line_says_what_did_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The general advice for a MemoryError hides which batch it was."""

    def fail(**_: object) -> None:
        raise OutOfMemoryError("a batch of 1 images does not fit")

    monkeypatch.setattr("iaside_onnx.cli.iaside.main", fail)
    monkeypatch.setattr("sys.argv", ["iaside"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "Error: a batch of 1 images does not fit\n"

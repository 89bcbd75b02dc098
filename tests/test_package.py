"""The package as a whole: what it imports, what it exports, and what others can read of it."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

import iaside_onnx
from iaside_onnx import Archive
from iaside_onnx.cli import COMMANDS
from iaside_onnx.runs import Options, OptionWords

ROOT = Path(__file__).parents[1]
OPTIONAL = ["onnxruntime", "cupy", "torch", "tensorflow", "matplotlib", "yaml", "ray", "xarray",
            "shapiq", "pandas", "tqdm"]  # fmt: skip
HEAVY = ["PIL", "h5py", "jinja2", "numpy", "onnx", "scipy"]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


RUN = """
import contextlib, io, sys, iaside_onnx.cli
sys.argv = ["iaside", *{words}]
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    iaside_onnx.cli.main()
assert "{said}" in out.getvalue()
"""


def imported(code: str, names: list[str]) -> list[str]:
    """Which of some packages are imported when code has run in a process of its own."""
    done = python(f"{code}\nimport sys\nprint(*sorted(set({names}) & set(sys.modules)))")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "code",
    [
        "import iaside_onnx\nfor name in iaside_onnx.__all__: getattr(iaside_onnx, name)",
        *(
            RUN.format(words=[name, "--help"], said="Example:")
            for name in COMMANDS
            if name != "export"
        ),
    ],
    ids=["all names", *(name for name in COMMANDS if name != "export")],
)
def test_optional_packages_are_not_imported(code: str) -> None:
    """Whoever lacks one could not even read an archive; whoever has it waits for it."""
    assert imported(code, OPTIONAL) == []


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import iaside_onnx", []),
        ("from iaside_onnx import open_archive", ["h5py", "numpy"]),
        (RUN.format(words=["--help"], said="decompose"), []),
        ("SHOW", ["h5py", "numpy"]),
    ],
    ids=["import", "open_archive", "help", "show"],
)
def test_what_reads_archives_loads_nothing_that_runs_models(
    code: str, needed: list[str], bundled_archive: Archive
) -> None:
    """Every `iaside show` waits for ONNX and SciPy."""
    if code == "SHOW":
        code = RUN.format(words=["show", str(bundled_archive.path)], said="SIS")
    assert imported(code, [*OPTIONAL, *HEAVY]) == needed


def test_the_command_line_starts_where_posix_modules_are_missing() -> None:
    """On Windows not even the help could be read."""
    missing = "import sys\nfor name in ('fcntl', 'resource'): sys.modules[name] = None\n"
    assert imported(missing + RUN.format(words=["--help"], said="decompose"), OPTIONAL) == []


def test_telemetry_is_off_as_soon_as_the_package_is_imported() -> None:
    """ONNX Runtime, imported by the user before the first use of ours, reports hashes of models."""
    code = (
        "import os; os.environ.pop('ORT_DISABLE_TELEMETRY', None)\n"
        "import iaside_onnx; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    assert python(code).stdout == "1\n"


def test_the_stub_promises_what_is_exported() -> None:
    """Type checkers and editors would know other names than Python."""
    stub = Path(iaside_onnx.__file__).with_suffix(".pyi")
    (promised,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
    )
    assert promised == iaside_onnx.__all__
    assert (stub.parent / "py.typed").exists()


def test_no_runtime_is_one_clear_error_on_the_command_line() -> None:
    """A traceback of an ImportError tells nobody what to install."""
    model = ROOT / "models" / "fashion-cnn.onnx"
    done = python(
        "import sys; from importlib import metadata\n"
        "def missing(name): raise metadata.PackageNotFoundError(name)\n"
        "metadata.distribution = missing; sys.modules['onnxruntime'] = None\n"
        f"sys.argv = ['iaside', 'inspect', {str(model)!r}]\n"
        "from iaside_onnx.cli import main; main()"
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "ONNX Runtime is not installed: pip install" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_exports_are_sorted_and_there() -> None:
    """A name that is promised and not there fails at the user's."""
    assert iaside_onnx.__all__ == sorted(iaside_onnx.__all__)
    assert len(set(iaside_onnx.__all__)) == len(iaside_onnx.__all__)
    for name in iaside_onnx.__all__:
        assert getattr(iaside_onnx, name) is not None
    public = {name for name in vars(iaside_onnx) if not name.startswith("_")}
    modules = {path.stem for path in Path(iaside_onnx.__file__).parent.iterdir()}
    assert public - modules <= set(iaside_onnx.__all__)


def test_options_and_their_keywords_are_the_same() -> None:
    """`decompose(..., new_option=)` would work and fail the user's type checker, or the reverse."""
    fields = {field.name: field.type for field in dataclasses.fields(Options)}
    words = {
        name: getattr(kind, "__forward_arg__", kind)
        for name, kind in OptionWords.__annotations__.items()
    }
    assert words == fields


def test_imports_run_downhill() -> None:
    """The table of rooms in design.md."""
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()",
         "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


IMAGE, BAND, SET = "image", "band", "coalition"
DIMS = {
    "worth": (IMAGE, SET), "label": (IMAGE,), "predicted": (IMAGE,), "image_id": (IMAGE,),
    "image_sha256": (IMAGE,), "phi_image": (IMAGE, BAND), "floored": (IMAGE,),
    "log_probability_whole": (IMAGE,), "log_probability_empty": (IMAGE,),
    "phi": (BAND,), "phi_low": (BAND,), "phi_high": (BAND,),
    "psi": (BAND,), "psi_low": (BAND,), "psi_high": (BAND,), "band_low": (BAND,),
    "band_high": (BAND,), "sis": (), "sis_low": (), "sis_high": (),
}  # fmt: skip
NATS = {"worth", "phi", "phi_low", "phi_high", "phi_image", "log_probability_whole",
        "log_probability_empty"}  # fmt: skip


def test_xarray_opens_an_archive_as_it_is(bundled_archive: Archive) -> None:
    """Dimensions, coordinates, units and names, without a line of ours."""
    with xarray.open_dataset(bundled_archive.path, engine="h5netcdf") as data:
        assert dict(data.sizes) == {IMAGE: 12, BAND: 6, SET: 64}
        assert {str(name): variable.dims for name, variable in data.data_vars.items()} == DIMS
        assert set(data.coords) == {IMAGE, BAND, SET}
        assert data["coalition"].values.tolist() == list(range(64))
        assert data["band"].values.tolist() == list(range(6))
        assert data["coalition"].dtype == np.uint64
        assert data["worth"].dtype == np.float32
        assert data["phi_image"].dtype == np.float64
        for name, variable in data.variables.items():
            assert variable.attrs["long_name"], name
            text = str(name).startswith("image_")
            assert variable.attrs.get("units") == (
                None if text else "nat" if name in NATS else "1"
            ), name
        ids = data["image_id"].values
        assert all(isinstance(name, str) and name.isdecimal() for name in ids.tolist())
        assert ids.tolist() == bundled_archive["image_id"].tolist()
        # A question that someone would ask of it.
        by_image = data["phi_image"].mean("image")
        np.testing.assert_allclose(by_image, data["phi"], rtol=0, atol=1e-12)
        assert float(data["psi"].sum("band")) == pytest.approx(1)
        assert data.attrs["model_name"] == "fashion-cnn.onnx"


def test_h5py_alone_reads_an_archive(bundled_archive: Archive) -> None:
    """Checksummed throughout, and nothing in it needs Python or pickle."""
    with h5py.File(bundled_archive.path, "r") as file:
        assert set(file) == {*DIMS, IMAGE, BAND, SET}
        for name, dataset in file.items():
            assert isinstance(dataset, h5py.Dataset)
            assert dataset.dtype.kind in "fiuS", name
            assert dataset.fletcher32 == (dataset.ndim > 0), name
            assert dataset.compression in (None, "gzip"), name
            scales = [dim.label or dim[0].name.strip("/") for dim in dataset.dims if len(dim)]
            assert scales == list(DIMS.get(name, ())), name
        for name in (IMAGE, BAND, SET):
            assert file[name].is_scale
        np.testing.assert_array_equal(file["worth"][...], bundled_archive["worth"])
        for name, attribute in file.attrs.items():
            assert isinstance(attribute, bytes | np.integer | np.floating), name
        assert file.attrs["schema_version"] == 1


def test_the_archive_reads_back_what_lies_in_it(bundled_archive: Archive) -> None:
    """`open_archive` and plain h5py would tell two stories."""
    assert set(bundled_archive.names) == {*DIMS, IMAGE, BAND, SET}
    with h5py.File(bundled_archive.path, "r") as file:
        for name in bundled_archive.names:
            values = file[name].asstr()[()] if file[name].dtype.kind == "S" else file[name][()]
            assert bundled_archive[name].tolist() == values.tolist()
        np.testing.assert_array_equal(bundled_archive.worth(3, 5), file["worth"][3:5])

"""Virtual environments of the scripts; PyTorch and TensorFlow need separate ones."""

import argparse
import os
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.shared.files import fail
from tools.shared.paths import ROOT

TORCH = ("torch==2.13.0", "onnx==1.23.2", "onnxscript==0.7.2", "onnxruntime==1.32.0", "numpy")
KERAS = (
    "tensorflow-cpu==2.21.*",
    "keras==3.15.*",
    "tf2onnx==1.17.*",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
)


class Environments:
    """The interpreter of each environment; without one, an environment is made at first use."""

    def __init__(self, torch: Path | None, keras: Path | None, root: Path) -> None:
        self._given_torch = torch
        self._given_keras = keras
        self._root = root

    @cached_property
    def torch(self) -> Path:
        """An interpreter that has PyTorch."""
        return self._given_torch or install(self._root / "torch", TORCH)

    @cached_property
    def keras(self) -> Path:
        """An interpreter that has Keras, TensorFlow and tf2onnx."""
        return self._given_keras or install(self._root / "keras", KERAS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options for the environments and for the number of training threads."""
    parser.add_argument("--torch-python", type=Path, help="a Python that has PyTorch")
    parser.add_argument("--keras-python", type=Path, help="a Python that has TensorFlow, tf2onnx")
    parser.add_argument(
        "--venvs", type=Path, help="keep the environments in this folder (default: temporary)"
    )
    # One thread gives the same files on any number of cores, and on a loaded machine two threads
    # are slower than one, as they wait for each other.
    parser.add_argument("--threads", type=int, default=1, help="threads to train with (default 1)")


@contextmanager
def prepared(args: argparse.Namespace) -> Iterator[Environments]:
    """Yields the environments; those in the default folder are deleted afterwards."""
    with TemporaryDirectory() as temporary:
        root = (args.venvs or Path(temporary)).resolve()
        yield Environments(args.torch_python, args.keras_python, root)


def install(folder: Path, requirements: Sequence[str]) -> Path:
    """Makes a virtual environment, or installs the requirements into an existing one."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder}")
        venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *requirements]
    if subprocess.run(command, check=False).returncode:
        fail(f"pip could not install {' '.join(requirements)} into {folder}; its output is above")
    return python


def with_checkout(**more: str) -> dict[str, str]:
    """Environment variables of a child process that finds `tools` and `iaside_onnx` here."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | more


def run_module(python: Path, module: str, *arguments: str | Path, threads: int) -> None:
    """Runs a script with another interpreter; ends this process if the script fails."""
    command = [python, "-m", module, *arguments]
    # Unbuffered, so that the line of an epoch is printed when the epoch ends.
    environment = with_checkout(PYTHONUNBUFFERED="1", OMP_NUM_THREADS=str(threads))
    try:
        status = subprocess.run(command, check=False, env=environment).returncode
    except OSError as error:
        fail(f"cannot run {python}: {error.strerror}")
    if status:
        print(f"{module} failed with exit code {status}", file=sys.stderr)
        raise SystemExit(1)

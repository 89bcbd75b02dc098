"""Missing frameworks; and that none is imported without need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Outcome

ROOT = Path(__file__).parents[2]

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
sys.argv = ["iaside", *{words!r}]
from iaside_onnx.cli import main
main()
"""


def without(blocked: list[str], *words: str) -> Outcome:
    """The command line in a process where some packages cannot be imported."""
    code = BLOCK.format(blocked=blocked, words=words)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("blocked", "words", "extra"),
    [
        ("torch", "torch m:f --input-size 3,8,8", "torch"),
        ("timm", "timm resnet18 --weights w.pt", "torch"),
        ("tensorflow", "keras m.keras", "keras"),
        ("tensorflow", "tflite {file}", "keras"),
        ("jax", "jax m:f --input-size 3,8,8", "jax"),
        ("sklearn", "sklearn m:f --input-size 1,8,8", "sklearn"),
    ],
)
def test_a_framework_that_is_missing(blocked: str, words: str, extra: str, tmp_path: Path) -> None:
    """The error must name the command that installs it."""
    file = tmp_path / "m.tflite"
    file.touch()
    words = words.format(file=file)
    output = str(tmp_path / "out.onnx")
    outcome = without([blocked], "export", *words.split(), "-o", output)
    outcome.fails(f"{blocked} is not installed: pip install 'iaside-onnx[{extra}]'")
    # The name of the project finds nothing on an index where only a checkout is at hand.
    outcome.fails(f"in a checkout: pip install '.[{extra}]'")
    assert not Path(output).exists()


def test_a_saved_model_without_tensorflow(tmp_path: Path) -> None:
    """A right folder must give the error of the missing framework, not one of the folder."""
    (tmp_path / "saved_model.pb").touch()
    words = ["export", "saved-model", str(tmp_path), "-o", str(tmp_path / "out.onnx")]
    without(["tensorflow"], *words).fails("tensorflow is not installed")


def test_quantising_without_its_tools(tmp_path: Path) -> None:
    """The error must name the command that installs the tools."""
    words = ["quantize", "models/fashion-cnn.onnx", "--images", "models/fashion-mnist-1000.npz"]
    output = str(tmp_path / "out.onnx")
    outcome = without(["sympy"], *words, "-o", output)
    outcome.fails("sympy is not installed", "pip install 'iaside-onnx[quantize]'")
    assert not list(tmp_path.iterdir())


def test_parquet_without_pyarrow(tmp_path: Path) -> None:
    """The error must name the command that installs the reader."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    words = ["decompose", "models/fashion-cnn.onnx", "--images", str(tmp_path / "a.parquet")]
    outcome = without(["pyarrow"], *words, "-o", str(tmp_path / "out.h5"))
    outcome.fails("pip install 'iaside-onnx[parquet]'", "pip install '.[parquet]'")


def test_no_framework_is_imported_with_the_package() -> None:
    """Otherwise the package would not start without frameworks, and start slowly with them."""
    names = "torch timm tensorflow keras tf2onnx jax flax jax2onnx sklearn skl2onnx pyarrow sympy"
    code = f"""
import sys, iaside_onnx, iaside_onnx.cli
print([name for name in {names.split()!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"

"""Folders and bundled files that scripts refer to."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
TEST_DATA = ROOT / "tests" / "data"
RECORDS = ROOT / "tools" / "records"

FASHION_IMAGES = MODELS / "fashion-mnist-1000.npz"
"""The 1,000 bundled test images with their labels."""
BUNDLED = (
    "fashion-cnn",
    "fashion-cnn-pgd",
    "fashion-cnn-noise",
    "fashion-vit",
    "fashion-cnn-keras",
)
"""Names of the bundled models, in the order of `models/PROVENANCE.md`."""


def bundled_model(name: str) -> Path:
    """The ONNX file of a bundled model."""
    return MODELS / f"{name}.onnx"

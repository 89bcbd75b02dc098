"""Location of the bundled models and images."""

from __future__ import annotations

from pathlib import Path

from iaside_onnx.errors import IasideError

__all__ = ["BUNDLED_CLASSES", "BUNDLED_IMAGES", "bundled_folder"]

BUNDLED_IMAGES = "fashion-mnist-1000.npz"
"""1,000 labelled test images of Fashion-MNIST."""

BUNDLED_CLASSES = "class_names.json"
"""Names of their ten classes."""


def bundled_folder() -> Path:
    """Find the bundled models: in the package, or beside it in a checkout.

    Raises:
        IasideError: they are in neither place.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "bundled", package.parent / "models"):
        if (folder / BUNDLED_IMAGES).is_file():
            return folder
    raise IasideError("the bundled models are not installed; install iaside-onnx again")

"""Where the bundled models and images are."""

from __future__ import annotations

from pathlib import Path

from iaside_onnx.errors import IasideError

__all__ = ["BUNDLED_IMAGES", "bundled_folder"]

BUNDLED_IMAGES = "fashion-mnist-1000.npz"
"""1,000 labelled test images of Fashion-MNIST."""


def bundled_folder() -> Path:
    """Where the bundled models are: in the package, or beside it in a checkout.

    Raises:
        IasideError: They are in neither place.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "bundled", package.parent / "models"):
        if (folder / BUNDLED_IMAGES).is_file():
            return folder
    raise IasideError("the bundled models are not installed; install iaside-onnx again")

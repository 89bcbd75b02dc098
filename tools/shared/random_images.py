"""Images of random pixels, for measurements in which the content of an image does not matter."""

from pathlib import Path

import numpy as np

_SEED = 0


def write_random_images(
    target: Path, count: int, height: int, width: int, *, channels: int, classes: int
) -> None:
    """Writes an `.npz` file that holds random images and labels, the same in each call.

    Args:
        target: the file to write.
        count: number of images.
        height: in pixels.
        width: in pixels.
        channels: channels of an image; they are the last axis.
        classes: labels are drawn from 0 to `classes - 1`.
    """
    generator = np.random.default_rng(_SEED)
    shape = (count, height, width, channels)
    np.savez(
        target,
        images=generator.integers(0, 256, shape, dtype=np.uint8),
        labels=generator.integers(0, classes, count),
    )

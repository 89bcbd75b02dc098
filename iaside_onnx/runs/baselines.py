"""What stands in for the bands that are absent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Recipe
from iaside_onnx.errors import ImageError, OptionError
from iaside_onnx.images import Preprocess, load_ahead
from iaside_onnx.runs.selection import Selection
from iaside_onnx.runtime import usable_cores
from iaside_onnx.spectrum import band_index, noise_like
from iaside_onnx.types import CONSTANT_BASELINES, BandIndex, Baseline, Pixels

__all__ = ["Baselines", "mean_color", "partners"]

# Each use of randomness has its own stream, so that none shifts another.
_NOISE, _PARTNER = 1, 2


@dataclass(frozen=True, slots=True)
class Baselines:
    """Makes the baseline of each image.

    Attributes:
        kind: which baseline.
        index: the band of each frequency.
        bands: number of bands.
        seed: the run's seed.
        color: the mean of each channel, ``(channels,)``, for ``mean``.
    """

    kind: Baseline
    index: BandIndex
    bands: int
    seed: int
    color: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, recipe: Recipe, height: int, width: int) -> Baselines:
        """Those of a recipe, for images of this size.

        Raises:
            OptionError: if images are too small for so many bands.
        """
        index = band_index(height, width, recipe.bands, recipe.partition, recipe.spacing)
        color = recipe.mean_color
        return cls(
            recipe.baseline, index, recipe.bands, recipe.seed,
            None if color is None else np.array(color, dtype=np.float32),
        )  # fmt: skip

    @property
    def constant(self) -> bool:
        """Whether it is the same for all images."""
        return self.kind in CONSTANT_BASELINES

    def make(self, image: Pixels, position: int, other: Pixels | None) -> Pixels:
        """The baseline of one image, ``(channels, height, width)`` in pixel units.

        Noise is shaped from ``default_rng([seed, 1, position]).standard_normal(shape, float32)``.

        Args:
            image: the image.
            position: its position in the source.
            other: the partner of the image, for ``complement``.
        """
        if self.kind == "noise":
            rng = np.random.default_rng([self.seed, _NOISE, position])
            white = rng.standard_normal(image.shape, np.float32)
            return noise_like(image, white, self.index, self.bands)
        if other is not None:
            return other
        baseline = np.zeros_like(image)
        if self.color is not None:
            baseline += self.color[:, None, None]
        return baseline


def mean_color(selection: Selection, spec: Preprocess, *, skip: bool) -> NDArray[np.float32]:
    """Mean of each channel over all images, ``(channels,)``, in pixel units.

    Args:
        selection: the images.
        spec: how they are prepared.
        skip: leave out images that cannot be read, instead of failing.

    Raises:
        ImageError: if an image cannot be read and must not be skipped, or none can be.
    """
    total = np.zeros(spec.size()[0])
    count = 0
    positions = selection.positions.tolist()
    for item in load_ahead(selection.source, positions, spec, usable_cores()):
        if isinstance(item, ImageError):
            if not skip:
                raise item
            continue
        total += item.pixels.mean(axis=(1, 2), dtype=np.float64)
        count += 1
    if count == 0:
        raise ImageError("none of the images can be read, so they have no mean colour")
    return (total / count).astype(np.float32)


def partners(positions: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """For each image the position of another image of the run, drawn uniformly, ``(n,)``.

    The i-th of n images gets number ``k + (k >= i)``, where k is
    ``default_rng([seed, 2, position]).integers(n - 1)``.

    Raises:
        OptionError: if there is only one image.
    """
    n = positions.size
    if n < 2:
        raise OptionError("the baseline `complement` is another image: it needs at least two")
    chosen = np.empty(n, dtype=np.int64)
    for i, position in enumerate(positions.tolist()):
        k = int(np.random.default_rng([seed, _PARTNER, position]).integers(n - 1))
        chosen[i] = positions[k + (k >= i)]
    return chosen

"""Images into bands and baselines, by FFT; NumPy or CuPy, whichever module is passed as ``xp``."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from iaside_onnx.spectrum.parallel import ParallelFor, serial_for
from iaside_onnx.types import BandIndex, Components, Pixels

__all__ = ["band_components", "band_energy", "noise_like"]

_CACHED = 1 << 16


def _fft(xp: ModuleType) -> ModuleType:
    # numpy.fft would do as well from NumPy 2 on; before, it turns float32 into float64.
    return importlib.import_module("scipy.fft" if xp is np else "cupyx.scipy.fft")


def band_components(
    image: Pixels,
    index: BandIndex,
    bands: int,
    xp: Any = np,
    parallel_for: ParallelFor = serial_for,
) -> Components:
    """The part of an image that lies in each band, ``(bands, channels, height, width)``, float32.

    The components sum to the image, but for rounding. One forward transform and one inverse
    transform a band; the bands of a small image, and all on a GPU, go in one call.

    Args:
        image: ``(channels, height, width)`` float32; for a game over a baseline, the image minus
            the baseline, as filtering is linear.
        index: the band of each frequency, from `band_index` of that height and width.
        bands: the number of bands.
        xp: the array module that the arrays belong to, NumPy or CuPy.
        parallel_for: runs the transforms of the bands, on threads if it has any.
    """
    fft = _fft(xp)
    spectrum = fft.rfft2(image)
    components = xp.empty((bands, *image.shape), dtype=xp.float32)
    # Past the cache of a CPU, one band at a time is faster; below it, calls are what costs.
    together = max(_CACHED // spectrum.size, 1) if xp is np else bands

    def fill(first: int) -> None:
        some = xp.arange(first, min(first + together, bands)).reshape(-1, 1, 1, 1)
        inside = index == some
        # Low bands lie in few columns; the transform along the rows fills up with zeros by itself.
        columns = int(np.flatnonzero(inside.any(axis=(0, 1, 2)))[-1]) + 1 if xp is np else None
        masked = xp.where(inside[..., :columns], spectrum[..., :columns], xp.complex64(0))
        rows = fft.ifft(masked, axis=-2, overwrite_x=True)
        components[first : first + together] = fft.irfft(
            rows, n=image.shape[-1], axis=-1, overwrite_x=True
        )

    parallel_for(fill, range(0, bands, together))
    return components  # type: ignore[no-any-return]  # xp is not known to the checker


def band_energy(image: Pixels, index: BandIndex, bands: int, xp: Any = np) -> Any:
    """Energy of each channel in each band, ``(bands, channels)``, float64.

    Scaled as ``sum |F|^2 / (height * width)``, so that the bands sum to the sum of squared pixels
    (Parseval).
    """
    height, width = image.shape[-2:]
    power = xp.abs(_fft(xp).rfft2(image)).astype(xp.float64) ** 2
    # A real FFT leaves out the mirror image of each column, save the first and, at even width,
    # the last.
    twice = xp.full(width // 2 + 1, 2.0)
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    power *= twice / (height * width)
    return xp.stack([(power * (index == band)).sum(axis=(-2, -1)) for band in range(bands)])


def noise_like(image: Pixels, white: Pixels, index: BandIndex, bands: int, xp: Any = np) -> Pixels:
    """Noise with the image's own energy in each band and channel, ``(channels, height, width)``.

    Args:
        image: whose energies to take.
        white: white Gaussian noise of the image's shape; drawn by the caller, from the run's seed.
        index: the band of each frequency, from `band_index`.
        bands: the number of bands.
        xp: the array module that the arrays belong to, NumPy or CuPy.
    """
    wanted = band_energy(image, index, bands, xp)
    given = band_energy(white, index, bands, xp)
    gain = xp.sqrt(wanted / given).astype(xp.float32)
    components = band_components(white, index, bands, xp)
    return (gain[:, :, None, None] * components).sum(axis=0)  # type: ignore[no-any-return]

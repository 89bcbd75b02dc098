"""Filtering, against complex FFTs of the whole plane in float64."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from iaside_onnx import band_components, band_index
from iaside_onnx.spectrum import band_energy, noise_like
from tests.support.oracle import Setting, bands_of_plane

SIZES = [(1, 8, 8), (3, 9, 14), (2, 7, 5), (1, 16, 3), (3, 12, 13)]
BANDS = 3


def on_host(array: Any) -> NDArray[Any]:
    """A NumPy array of either module's."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


def image_of(size: tuple[int, int, int], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(size, dtype=np.float32)


def full_energy(image: NDArray[Any], bands: NDArray[np.int64]) -> NDArray[np.float64]:
    """Energy by band and channel from the whole plane, ``(bands, channels)``."""
    power = np.abs(np.fft.fft2(image.astype(np.float64))) ** 2 / bands.size
    return np.stack([power[:, bands == band].sum(axis=1) for band in range(BANDS)])


@pytest.fixture(params=SIZES, ids=str)
def size(request: pytest.FixtureRequest) -> tuple[int, int, int]:
    shape: tuple[int, int, int] = request.param
    return shape


def split(image: NDArray[np.float32], xp: ModuleType) -> Any:
    index = xp.asarray(band_index(image.shape[1], image.shape[2], BANDS))
    return band_components(xp.asarray(image), index, BANDS, xp)


def test_components_are_the_filtered_images(size: tuple[int, int, int], xp: ModuleType) -> None:
    """A band would hold frequencies of another, or lose the half that a real FFT omits."""
    image = image_of(size)
    components = split(image, xp)
    assert components.dtype == xp.float32
    assert components.shape == (BANDS, *size)
    plane = bands_of_plane(*size[1:], Setting(BANDS))
    for band in range(BANDS):
        wanted = np.fft.ifft2(np.fft.fft2(image.astype(np.float64)) * (plane == band)).real
        np.testing.assert_allclose(on_host(components[band]), wanted, rtol=0, atol=1e-6)


def test_components_sum_to_the_image(size: tuple[int, int, int], xp: ModuleType) -> None:
    """The full coalition would not be the image that the model was made for."""
    image = image_of(size)
    total = on_host(split(image, xp)).sum(axis=0)
    np.testing.assert_allclose(total, image, rtol=0, atol=1e-5)


def test_bands_are_orthogonal_and_filtering_twice_changes_nothing(
    size: tuple[int, int, int], xp: ModuleType
) -> None:
    """Bands would leak into one another, and share the contribution of one frequency."""
    image = image_of(size)
    components = on_host(split(image, xp)).astype(np.float64)
    flat = components.reshape(BANDS, -1)
    products = flat @ flat.T
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-4)
    assert np.trace(products) == pytest.approx((image.astype(np.float64) ** 2).sum(), rel=1e-5)
    for band in range(BANDS):
        again = on_host(split(components[band].astype(np.float32), xp))
        others = [b for b in range(BANDS) if b != band]
        np.testing.assert_allclose(again[band], components[band], rtol=0, atol=1e-5)
        np.testing.assert_allclose(again[others], 0, atol=1e-5)


def test_a_constant_image_is_in_band_0_alone(size: tuple[int, int, int], xp: ModuleType) -> None:
    """The mean would be credited to a band that does not hold it."""
    components = on_host(split(np.full(size, 0.3, dtype=np.float32), xp))
    np.testing.assert_allclose(components[0], 0.3, rtol=0, atol=1e-6)
    np.testing.assert_allclose(components[1:], 0, atol=1e-6)


def test_energy_is_that_of_the_whole_plane(size: tuple[int, int, int], xp: ModuleType) -> None:
    """Columns that mirror others would be counted once, or the middle ones twice."""
    image = image_of(size)
    index = xp.asarray(band_index(*size[1:], BANDS))
    energy = band_energy(xp.asarray(image), index, BANDS, xp)
    assert energy.dtype == xp.float64
    wanted = full_energy(image, bands_of_plane(*size[1:], Setting(BANDS)))
    np.testing.assert_allclose(on_host(energy), wanted, rtol=1e-5)
    np.testing.assert_allclose(
        on_host(energy).sum(axis=0), (image.astype(np.float64) ** 2).sum(axis=(1, 2)), rtol=1e-5
    )


def test_noise_has_the_images_energies(size: tuple[int, int, int], xp: ModuleType) -> None:
    """The baseline would be louder or softer than the image that it replaces."""
    image = image_of(size)
    white = np.random.default_rng(9).standard_normal(size, np.float32)
    index = xp.asarray(band_index(*size[1:], BANDS))
    noise = noise_like(xp.asarray(image), xp.asarray(white), index, BANDS, xp)
    assert noise.dtype == xp.float32
    plane = bands_of_plane(*size[1:], Setting(BANDS))
    np.testing.assert_allclose(
        full_energy(on_host(noise), plane), full_energy(image, plane), rtol=1e-4
    )
    # It keeps the phases of the white noise, and so nothing of the image but its energies.
    phases = np.fft.fft2(on_host(noise).astype(np.float64)) / np.fft.fft2(white.astype(np.float64))
    np.testing.assert_allclose(phases.imag / np.abs(phases), 0, atol=1e-3)
    assert (phases.real > 0).all()


def test_a_black_image_has_black_noise() -> None:
    """0/0 would make a baseline of NaN."""
    white = np.random.default_rng(9).standard_normal((1, 8, 8), np.float32)
    black = np.zeros((1, 8, 8), dtype=np.float32)
    assert not noise_like(black, white, band_index(8, 8, BANDS), BANDS).any()

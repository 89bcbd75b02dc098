"""The pictures of a page: the right image, found by its hash, and its bands."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import iaside_onnx
from iaside_onnx import Archive, Preprocess, write_report
from iaside_onnx.errors import ImageError
from iaside_onnx.images.preprocess import ColorOrder
from tests.support.command import PICTURES
from tests.support.onnx_models import Net
from tests.support.pages import read_page


def pictures(archives: Any, folder: Path, images: Any) -> list[NDArray[np.uint8]]:
    """All images of a page, decoded."""
    write_report(archives, folder / "a.html", images=images)
    found = []
    for attributes in read_page(folder / "a.html").all("img"):
        data = (attributes["src"] or "").removeprefix("data:image/png;base64,")
        found.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))))
    return found


def ring(image: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """The frequencies of an image between two radii (linf), by NumPy's full FFT."""
    fy, fx = (np.abs(np.fft.fftfreq(size)) for size in image.shape)
    radius = np.maximum(fy[:, None], fx[None, :]) / 0.5
    inside = (radius >= low - 1e-12) & (radius < high - 1e-12)
    return np.fft.ifft2(np.fft.fft2(image) * inside).real


@pytest.fixture
def stored() -> dict[str, NDArray[Any]]:
    with np.load(PICTURES) as file:
        return {name: file[name] for name in ("images", "labels")}


def first_right(archive: Archive) -> int:
    right = archive["predicted"] == archive["label"]
    return int(archive["image"][np.flatnonzero(right)[0]])


def test_the_bands_are_those_of_the_image(
    bundled_archive: Archive, tmp_path: Path, stored: dict[str, NDArray[Any]]
) -> None:
    """What a band holds is shown wrong, and with it what the model relies on."""
    found = pictures(bundled_archive, tmp_path, PICTURES)
    assert len(found) == 1 + 6 + 6
    image = stored["images"][first_right(bundled_archive)]
    assert np.array_equal(found[0], image)
    edges = [*bundled_archive["band_low"], 1.1]
    pixels = image / 255.0
    for band in range(6):
        part = ring(pixels, edges[band], edges[band + 1])
        grey = np.clip(127.5 + 127.5 * part / np.quantile(np.abs(part), 0.99), 0, 255)
        np.testing.assert_allclose(found[1 + band], grey, atol=0.51 + 1e-3)
        up_to = np.clip(ring(pixels, 0.0, edges[band + 1]), 0, 1) * 255
        np.testing.assert_allclose(found[7 + band], up_to, atol=0.51 + 1e-3)


def test_images_are_found_where_they_have_moved(
    bundled_archive: Archive, tmp_path: Path, stored: dict[str, NDArray[Any]]
) -> None:
    """Another image than the archive's would be shown under its name."""
    order = np.arange(1000)[::-1]
    moved = pictures(bundled_archive, tmp_path, stored["images"][order])
    known = {stored["images"][i].tobytes() for i in bundled_archive["image"]}
    assert moved[0].tobytes() in known
    last = int(bundled_archive["image"][-1])
    alone = pictures(bundled_archive, tmp_path, stored["images"][last : last + 1])
    assert np.array_equal(alone[0], stored["images"][last])
    with pytest.raises(ImageError, match="holds no image of"):
        write_report(bundled_archive, tmp_path / "b.html", images=255 - stored["images"])
    assert not (tmp_path / "b.html").exists()


def noise(n: int, side: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_colour_is_shown_as_it_is(order: ColorOrder, tmp_path: Path) -> None:
    """Images of a model that takes blue first would be shown with red and blue exchanged."""
    model = Net(size=(3, 16, 16)).save(tmp_path / "net.onnx")
    images = noise(4, 16)
    archive = iaside_onnx.decompose(
        model, images, tmp_path / "a.h5", bands=2, labels=np.zeros(4, np.int64),
        preprocess=Preprocess(input_size=(3, 16, 16), color_order=order),
    )  # fmt: skip
    whole = pictures(archive, tmp_path, images)[0]
    assert any(np.array_equal(whole, image) for image in images)


def test_large_images_of_many_bands_stay_small(tmp_path: Path) -> None:
    """A page of photographs would be too large to be sent."""
    model = Net(size=(3, 256, 256)).save(tmp_path / "net.onnx")
    images = noise(2, 256)
    archive = iaside_onnx.decompose(
        model, images, tmp_path / "a.h5", bands=12, budget=100, method="sampled",
        labels=np.zeros(2, np.int64), preprocess=Preprocess(input_size=(3, 256, 256)),
    )  # fmt: skip
    found = pictures(archive, tmp_path, images)
    assert len(found) == 1 + 8 + 8
    assert found[0].shape[:2] == (224, 224)
    # Noise is the worst case: nothing in it can be compressed.
    assert (tmp_path / "a.html").stat().st_size < 1_000_000

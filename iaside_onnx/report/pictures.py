"""What the bands look like on one real image."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from iaside_onnx.archive import Archive
from iaside_onnx.errors import ImageError
from iaside_onnx.images import ImagesLike, ImageSource, Preprocess, open_images
from iaside_onnx.report.marking import bdi
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.tables import band_radius
from iaside_onnx.spectrum import band_components, band_index
from iaside_onnx.types import Pixels

__all__ = ["pictures_section"]

# What keeps a page of five models below a megabyte.
_MOST_BANDS, _MOST_SIDE, _MOST_COLORS = 8, 224, 64
# Images up to this side are shown with their pixels, and in all their colours.
_TINY = 64
# Pictures of bands are scaled to this quantile of their absolute values.
_SCALED = 0.99


@dataclass(frozen=True, slots=True)
class _Picture:
    """An image as the source of an ``<img>``, and what it shows."""

    source: str
    caption: str
    alt: str


def pictures_section(
    subjects: Sequence[Subject], images: ImagesLike | None
) -> Mapping[str, Any] | None:
    """One image, each of its bands, and its bands up to each.

    Raises:
        ImageError: if the source cannot be read, or holds no image of the first archive.
    """
    if images is None:
        return None
    archive = subjects[0].archive
    row, pixels = _find(_open(archive, images), subjects)
    recipe = archive.recipe
    _, height, width = pixels.shape
    index = band_index(height, width, recipe.bands, recipe.partition, recipe.spacing)
    components = band_components(pixels, index, recipe.bands)
    shown = _shown(recipe.bands)
    up_to = np.cumsum(components, axis=0)
    return {
        "image": _Picture(_embedded(pixels), "whole image", "The image as the model is given it"),
        "name": bdi(str(archive["image_id"][row])),
        "size": f"{height} x {width}",
        "tiny": max(height, width) <= _TINY,
        "cut": max(height, width) > _MOST_SIDE,
        "side": _MOST_SIDE,
        "some": len(shown) < recipe.bands,
        "baseline": recipe.baseline,
        "bands": [
            _Picture(
                _embedded(_around_grey(components[band])),
                f"band {band}, radius {band_radius(archive, band)}",
                f"The part of the image in band {band}, around grey",
            )
            for band in shown
        ],
        "up_to": [
            _Picture(
                _embedded(up_to[band]),
                f"bands 0 to {band}" if band else "band 0",
                f"The image with bands 0 to {band} alone",
            )
            for band in shown
        ],
    }


def _shown(bands: int) -> list[int]:
    """All bands, or some from the lowest to the highest."""
    count = min(bands, _MOST_BANDS)
    return sorted({round(place) for place in np.linspace(0, bands - 1, count).tolist()})


def _open(archive: Archive, images: ImagesLike) -> ImageSource:
    given = archive.metadata.options["given"]
    # Where images lay in one array among others, they lie there still.
    images_key, labels_key = (
        key if isinstance(key := given.get(name), str) else None
        for name in ("images_key", "labels_key")
    )
    return open_images(images, images_key=images_key, labels_key=labels_key)


def _find(source: ImageSource, subjects: Sequence[Subject]) -> tuple[int, Pixels]:
    """Find the first image that all models get right, or else any image of the first archive."""
    archive = subjects[0].archive
    spec = Preprocess.from_dict(archive.recipe.preprocess, str(archive.path))
    for row, position in _candidates(source, subjects):
        if source.sha256(position) == archive["image_sha256"][row]:
            pixels = source.read(position, spec).pixels
            return row, pixels[::-1] if spec.color_order == "bgr" else pixels
    raise ImageError(
        f"{source.describe()}: holds no image of {archive.path}, by its SHA-256; give the images "
        "that were decomposed, or none"
    )


def _candidates(source: ImageSource, subjects: Sequence[Subject]) -> Iterator[tuple[int, int]]:
    """Rows of the first archive, each with a position where its image may be, the likely first."""
    archive = subjects[0].archive
    known: list[str] = archive["image_sha256"].tolist()
    right = set(known)
    for subject in subjects:
        right &= set(subject.archive["image_sha256"][subject.right].tolist())
    rows = sorted(range(len(known)), key=lambda row: known[row] not in right)
    # The source of the run, as it was.
    for row in rows[:_MOST_BANDS]:
        position = int(archive["image"][row])
        if 0 <= position < len(source):
            yield row, position
    # Images that have moved within it, or a part of them.
    rows_of = {sha256: row for row, sha256 in enumerate(known)}
    for position in range(len(source)):
        found = rows_of.get(source.sha256(position))
        if found is not None:
            yield found, position


def _around_grey(component: Pixels) -> NDArray[np.float32]:
    """A signed component as pixels: zero is grey, and its strongest values black or white."""
    # A few pixels of high bands are far stronger than all others, which would be grey beside them.
    reach = max(float(np.quantile(np.abs(component), _SCALED)), 1e-6)
    return 0.5 + 0.5 * component / np.float32(reach)


def _embedded(pixels: NDArray[np.float32]) -> str:
    """Pixels in [0, 1], ``(channels, height, width)``, as a small PNG in a ``data:`` URI."""
    _, height, width = pixels.shape
    top, left = max(height - _MOST_SIDE, 0) // 2, max(width - _MOST_SIDE, 0) // 2
    cut = pixels[:, top : top + _MOST_SIDE, left : left + _MOST_SIDE]
    values = np.rint(np.clip(cut, 0.0, 1.0) * 255).astype(np.uint8).transpose(1, 2, 0)
    image = Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values)
    if image.mode == "RGB" and max(height, width) > _TINY:
        image = image.quantize(_MOST_COLORS)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()

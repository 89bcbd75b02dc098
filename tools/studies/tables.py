"""Full tables of worths of real models: every coalition of every image."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import iaside_onnx
from tools.shared.paths import BUNDLED, FASHION_IMAGES, bundled_model

LARGE = ("fashion-vit", "efficientnet-lite0")
"""Models whose tables have fewer images where there are many coalitions."""
MOST_IMAGES = {6: 400, 8: 1000, 10: 100, 12: 200}
MOST_IMAGES_LARGE = {6: 400, 8: 1000, 10: 64, 12: 24}


@dataclass(frozen=True)
class Table:
    """The worths of all coalitions of some images.

    Attributes:
        name: of the model.
        bands: M.
        worth: ``(images, 2**bands)``, in nats.
        phi: the contributions in each image, ``(images, bands)``, in nats.
        classes: class of each image, ``(images,)``.
    """

    name: str
    bands: int
    worth: np.ndarray
    phi: np.ndarray
    classes: np.ndarray


def tables(given: argparse.Namespace) -> Iterator[Table]:
    """Yield the tables of the chosen models and numbers of bands; make those that are missing."""
    given.tables.mkdir(parents=True, exist_ok=True)
    for bands in given.bands:
        for name in given.only or (*BUNDLED, "efficientnet-lite0"):
            most = (MOST_IMAGES_LARGE if name in LARGE else MOST_IMAGES).get(bands, 48)
            model, images, classes = bundled_model(name), FASHION_IMAGES, None
            if name == "efficientnet-lite0":
                if given.lite0 is None:
                    continue
                model, images, classes = given.lite0, given.images, given.classes
            archive = iaside_onnx.decompose(
                model,
                images,
                given.tables / f"{name}-{bands}.h5",
                bands=bands,
                limit=most,
                method="exact",
                classes=classes,
            )
            yield Table(name, bands, archive.worth(), archive["phi_image"], archive["label"])

"""Which images a run takes, and their labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images import ImageSource, match_labels, open_images, sample_images
from iaside_onnx.runs.options import Options

__all__ = ["Selection", "select_images"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The images of a run.

    Attributes:
        source: where they come from.
        positions: of the chosen ones in the source, ``(n,)``, ascending.
        labels: of the chosen ones, ``(n,)``; None if the model's own answers are taken.
        strata: their classes, ``(n,)``, whatever is decomposed; None where none are known.
        numbered: whether the labels follow the source's own numbering of class names, which nobody
            has said to be that of the model.
    """

    source: ImageSource
    positions: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    strata: NDArray[np.int64] | None = None
    numbered: bool = False

    def label_of(self, row: int) -> int | None:
        """Label of the row-th chosen image; None if the model's own answer is taken."""
        return None if self.labels is None else int(self.labels[row])

    def first_changed(self, positions: Iterable[int], hashes: Iterable[str]) -> str | None:
        """Name of the first image that is not what it was when it was evaluated, if any.

        Raises:
            ImageError: if an image can no longer be read.
        """
        for position, known in zip(positions, hashes, strict=True):
            if self.source.sha256(position) != known:
                return self.source.ids[position]
        return None

    def digest(self) -> str:
        """SHA-256 over names and labels of the chosen images."""
        ids = [self.source.ids[position] for position in self.positions.tolist()]
        labels = None if self.labels is None else self.labels.tolist()
        return hashlib.sha256(json.dumps([ids, labels]).encode()).hexdigest()


def select_images(images: Any, options: Options) -> Selection:
    """Open the images, find their labels, and draw those that the run takes.

    Raises:
        ImageError: if there are no images, or labels are missing or do not fit them.
    """
    source = open_images(
        images, options.classes, options.own_labels, options.images_key, options.labels_key
    )
    labels, by_name = _labels(source, options)
    # Labels balance the sample even where the model's own answers are what is decomposed.
    balance = source.labels if labels is None else labels
    positions = sample_images(len(source), balance, options.limit, options.seed)
    return Selection(
        source,
        positions,
        None if labels is None else labels[positions],
        None if balance is None else balance[positions],
        by_name and options.classes is None and source.classes is not None,
    )


def _labels(source: ImageSource, options: Options) -> tuple[NDArray[np.int64] | None, bool]:
    """Labels of all images, and whether they follow from the names of classes."""
    wanted = options.labels
    if isinstance(wanted, str) and wanted == "predicted":
        return None, False
    if not isinstance(wanted, str | Path) or wanted == "folder":
        if source.labels is None:
            raise ImageError(
                f"{source.describe()}: has no labels; give `labels=FILE` (CSV or JSON of image id "
                "and label), or `labels='predicted'` for the model's own answers"
            )
        return source.labels, True
    return match_labels(Path(wanted), source.ids, source.classes)

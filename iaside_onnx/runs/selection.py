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
from iaside_onnx.images import ImageSource, labels_from_file, open_images, sample_images
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
    """

    source: ImageSource
    positions: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    strata: NDArray[np.int64] | None = None

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
    source = open_images(images, classes=options.classes, labels=options.own_labels)
    labels = _labels(source, options)
    # Labels balance the sample even where the model's own answers are what is decomposed.
    balance = source.labels if labels is None else labels
    positions = sample_images(len(source), balance, options.limit, options.seed)
    return Selection(
        source,
        positions,
        None if labels is None else labels[positions],
        None if balance is None else balance[positions],
    )


def _labels(source: ImageSource, options: Options) -> NDArray[np.int64] | None:
    wanted = options.labels
    if isinstance(wanted, str) and wanted == "predicted":
        return None
    if not isinstance(wanted, str | Path) or wanted == "folder":
        if source.labels is None:
            raise ImageError(
                f"{source.describe()}: has no labels; give `labels=FILE` (CSV or JSON of image id "
                "and label), or `labels='predicted'` for the model's own answers"
            )
        return source.labels
    return labels_from_file(Path(wanted), source.ids, source.classes)

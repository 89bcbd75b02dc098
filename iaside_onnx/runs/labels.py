"""Whether the labels of the images can be those of the model."""

from __future__ import annotations

import numpy as np

from iaside_onnx.errors import ImageError
from iaside_onnx.runs.selection import Selection

__all__ = ["check_labels"]

_SHOWN = 3


def check_labels(selection: Selection, classes: int) -> None:
    """Compare the labels with the classes of the model.

    Args:
        selection: the images of the run.
        classes: number of classes of the model.

    Raises:
        ImageError: the source numbers another number of class names than the model has classes, so
            that a missing one would shift all labels behind it; or a label is no class.
    """
    if selection.labels is None:
        return
    if selection.numbered:
        _check_names(selection, classes)
    outside = np.flatnonzero((selection.labels < 0) | (selection.labels >= classes))
    if outside.size:
        first = int(outside[0])
        name = selection.source.ids[int(selection.positions[first])]
        raise ImageError(
            f"{outside.size} of {selection.labels.size} labels are not among the model's {classes} "
            f"classes, the first is {selection.labels[first]} of image {name}; labels count from "
            "0: correct them, or map class names to classes with `classes=`"
        )


def _check_names(selection: Selection, classes: int) -> None:
    names = list(selection.source.classes or ())
    if len(names) == classes:
        return
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    folders = selection.source.kind == "class-folder"
    what = "class folders" if folders else "class names"
    raise ImageError(
        f"{selection.source.describe()}: has {len(names)} {what} ({shown}), but the model has "
        f"{classes} classes, so it is unclear which class each is; give `classes=FILE`, which maps "
        f"names to class indices"
        + (
            f", or `classes='in-order'` if they are the classes 0 to {len(names) - 1} in this order"
            if len(names) < classes
            else ""
        )
        + (", or `classes='numbers'` if their names are class indices" if folders else "")
    )

"""Which array or column of a file holds the images, and which the labels."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from iaside_onnx.errors import ImageError

__all__ = ["SPLITS", "Keys", "choose_keys", "images_and_labels"]

SPLITS = ("test", "testing", "val", "valid", "validation", "dev", "train", "training")
"""Names of the splits of a data set; what is best audited comes first."""

_IMAGES = ("images", "image", "imgs", "img", "x", "data", "pictures", "pixels")
_LABELS = ("labels", "label", "y", "targets", "target", "cls", "classes", "class")
_PARTS = re.compile(r"[^a-zA-Z0-9]+")


@dataclass(frozen=True, slots=True)
class Keys:
    """Names that the user gave; None to find them.

    Attributes:
        images: the array or column of images.
        labels: that of labels.
    """

    images: str | None = None
    labels: str | None = None

    def refuse(self, where: str) -> None:
        """Refuse keys for a source that has none.

        Raises:
            ImageError: one was given.
        """
        given = [f"{k} key" for k in ("images", "labels") if getattr(self, k) is not None]
        if given:
            raise ImageError(
                f"{where} has no named arrays or columns, so {' and '.join(given)} do not apply; "
                "leave them out"
            )


def choose_keys(names: Sequence[str], keys: Keys, where: str) -> tuple[str, str | None]:
    """The arrays of images and of labels in a .npz or HDF5 file.

    Without keys these are ``images`` and ``labels``, or the only pair of names that are known, such
    as ``x_test`` and ``y_test``.

    Args:
        names: of all arrays.
        keys: what the user gave.
        where: the file.

    Returns:
        Name of the images, and of the labels if there are any.

    Raises:
        ImageError: there is no such array, or it is unclear which one is meant.
    """
    images = keys.images
    if images is None:
        images = _only(names, where)
    elif images not in names:
        raise _missing(images, names, where)
    if keys.labels is not None:
        if keys.labels not in names:
            raise _missing(keys.labels, names, where)
        return images, keys.labels
    if images == "images" and "labels" in names:
        return images, "labels"
    split = _parse(images)[1]
    labels = [name for name in names if name != images and _parse(name) == ("labels", split)]
    if len(labels) > 1:
        raise ImageError(
            f"{where} has several arrays that may be the labels of {images} ({_shown(labels)}); "
            "choose one with `labels_key=`"
        )
    return images, next(iter(labels), None)


def images_and_labels(names: Collection[str]) -> tuple[list[str], list[str]]:
    """The names among ``names`` that are usual for images, and those that are usual for labels."""
    return (
        [name for name in names if _parse(name)[0] == "images"],
        [name for name in names if _parse(name)[0] == "labels"],
    )


def _only(names: Sequence[str], where: str) -> str:
    """The one array of images."""
    if "images" in names:
        return "images"
    found = images_and_labels(names)[0]
    if not found and len(names) == 1:
        return names[0]
    if len(found) > 1:
        raise ImageError(
            f"{where} has several arrays that may be the images ({_shown(found)}); choose one with "
            "`images_key=`"
        )
    if not found:
        raise ImageError(
            f"{where} has no array named images (it has {_shown(sorted(names)) or 'nothing'}); "
            "name the array with `images_key=`, or save the array images "
            "and, if there are labels, the array labels"
        )
    return found[0]


def _parse(name: str) -> tuple[str, str]:
    """What an array is by its name, and of which split: ``("images", "test")`` for ``X_test``."""
    *folders, last = name.split("/")
    parts = [part.lower() for part in _PARTS.split(last) if part]
    splits = [part for part in parts if part in SPLITS]
    rest = [part for part in parts if part not in (*SPLITS, "set")]
    kind = ""
    if len(rest) == 1 and len(splits) <= 1:
        kind = "images" if rest[0] in _IMAGES else "labels" if rest[0] in _LABELS else ""
    return kind, "/".join([*folders, *splits])


def _missing(key: str, names: Sequence[str], where: str) -> ImageError:
    return ImageError(
        f"{where} has no {key!r}; it has {_shown(sorted(names)) or 'nothing'}: choose one of these"
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")

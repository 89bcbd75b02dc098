"""Folders of images: one subfolder per class, or all images in one folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.encoded import IMAGE_SUFFIXES, MAX_FILE_BYTES, EncodedSource
from iaside_onnx.images.files import read_bytes

__all__ = ["FolderSource", "open_folder"]


class FolderSource(EncodedSource):
    """Image files below one folder."""

    def __init__(
        self,
        root: Path,
        ids: Sequence[str],
        labels: NDArray[np.int64] | None,
        classes: dict[str, int] | None,
    ) -> None:
        name = root.name or str(root)
        if labels is None:
            super().__init__("folder", f"folder {name}", ids, labels, classes)
        else:
            super().__init__("class-folder", f"class folder {name}", ids, labels, classes)
        self.root = root

    def encoded(self, index: int) -> bytes:
        """Read the bytes of one file.

        Raises:
            ImageError: it cannot be read.
        """
        return read_bytes(self.root / self.ids[index], MAX_FILE_BYTES, self.name(index), ImageError)

    def name(self, index: int) -> str:
        """The path of one file."""
        return str(self.root / self.ids[index])


def open_folder(root: Path, classes: Mapping[str, int] | None) -> FolderSource:
    """Open a folder of class folders, or a flat one, in the order of torchvision's ImageFolder.

    The index of a class is the position of its folder among all folders sorted as strings, unless
    ``classes`` gives another. Hidden files and folders, and files with other suffixes, are ignored.

    Args:
        root: the folder.
        classes: class index of each folder name.

    Raises:
        ImageError: there are no images, or images both in ``root`` and in folders; a folder is
            not in ``classes``; without ``classes``, a folder is empty; a link leads out of
            ``root``.
    """
    here = root.resolve()
    folders, files = _listing(root, here)
    found = {folder: _images_below(root / folder, here) for folder in folders}
    held = {folder: paths for folder, paths in found.items() if paths}
    if held and files:
        raise ImageError(
            f"{root} holds images both directly ({files[0]}) and in folders ({min(held)}); move "
            "them so that each class has a folder, or all images are in one folder"
        )
    if files:
        return FolderSource(root, files, None, None if classes is None else dict(classes))
    if not held:
        raise ImageError(
            f"{root} holds no images; {', '.join(IMAGE_SUFFIXES)} files were expected, directly or "
            "in one folder per class"
        )
    used = _class_map(root, found, classes)
    ids = [path.relative_to(root).as_posix() for folder in held for path in held[folder]]
    labels = [used[folder] for folder in held for _ in held[folder]]
    return FolderSource(root, ids, np.array(labels, dtype=np.int64), used)


def _class_map(
    root: Path, found: Mapping[str, Sequence[Path]], classes: Mapping[str, int] | None
) -> dict[str, int]:
    if classes is None:
        empty = [folder for folder, paths in found.items() if not paths]
        if empty:
            raise ImageError(
                f"folder {root / empty[0]} holds no images, so it is unclear whether it counts "
                "as a class; remove it, or map names to class indices in a classes file"
            )
        return {folder: index for index, folder in enumerate(found)}
    held = [folder for folder, paths in found.items() if paths]
    missing = [folder for folder in held if folder not in classes]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ImageError(
            f"{len(missing)} of the {len(held)} class folders of {root} are not in the classes "
            f"given ({shown}); add them"
        )
    return {folder: classes[folder] for folder in held}


def _listing(folder: Path, root: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the images in one folder, each sorted as strings."""
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                    files.append(entry.name)
                else:
                    continue
                _check_entry(entry, root)
    except OSError as failure:
        raise ImageError(
            f"{folder} cannot be listed ({failure.strerror}); check the path and permissions"
        ) from None
    return sorted(folders), sorted(files)


def _images_below(folder: Path, root: Path) -> list[Path]:
    """Images of one class, grouped by folder; folders are sorted as strings."""
    below: dict[Path, list[str]] = {}
    seen: set[Path] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        # Links could form a cycle, or count images twice.
        if here.resolve() in seen:
            raise ImageError(f"{here} is a link to a folder that was already read; remove the link")
        seen.add(here.resolve())
        folders, below[here] = _listing(here, root)
        waiting += [here / name for name in folders]
    return [here / name for here in sorted(below, key=str) for name in below[here]]


def _check_entry(entry: os.DirEntry[str], root: Path) -> None:
    """Refuse names that are not UTF-8 and links that lead out of ``root``."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        raise ImageError(f"the name {entry.path!r} is not UTF-8; rename it") from None
    if entry.is_symlink():
        target = Path(entry.path).resolve()
        if not target.is_relative_to(root):
            raise ImageError(
                f"{entry.path} is a link to {target}, outside {root}; copy the images into the "
                "folder (cp -rL), as nothing outside it is read"
            )

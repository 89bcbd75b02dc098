"""Folders of images: one subfolder per class, or all images in one folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.classes import KnownClasses, named, number_folders
from iaside_onnx.images.decode import IMAGE_SUFFIXES
from iaside_onnx.images.encoded import MAX_FILE_BYTES, EncodedSource
from iaside_onnx.images.files import read_bytes
from iaside_onnx.images.keys import SPLITS
from iaside_onnx.images.left_out import HIDDEN, LeftOut, suffix_of

__all__ = ["FolderSource", "open_folder"]

# Made by operating systems and servers beside the files of a user, never by one.
_SYSTEM = frozenset(
    ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"]
)


class FolderSource(EncodedSource):
    """Image files below one folder."""

    def __init__(
        self,
        root: Path,
        ids: Sequence[str],
        labels: NDArray[np.int64] | None,
        classes: dict[str, int] | None,
        notes: Sequence[str] = (),
    ) -> None:
        name = root.name or str(root)
        if labels is None:
            super().__init__("folder", f"folder {name}", ids, labels, classes, notes)
        else:
            super().__init__("class-folder", f"class folder {name}", ids, labels, classes, notes)
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


def open_folder(root: Path, classes: KnownClasses) -> FolderSource:
    """Open a folder of class folders, or a flat one, in the order of torchvision's ImageFolder.

    The index of a class is the position of its folder among all folders sorted as strings, unless
    ``classes`` gives another. Hidden files and folders, and files with other suffixes, are left
    out, which the notes of the source say.

    Args:
        root: the folder.
        classes: class index of each folder name, or a rule.

    Raises:
        ImageError: there are no images, or images both in ``root`` and in folders; ``root`` holds
            the splits of a data set; a folder is not in ``classes``; a link leads out of ``root``.
    """
    here, left_out = root.resolve(), LeftOut()
    folders, files = _listing(root, here, root, left_out)
    found = {folder: _images_below(root / folder, here, left_out) for folder in folders}
    held = {folder: paths for folder, paths in found.items() if paths}
    title = f"folder {root.name or root}"
    if held and files:
        raise ImageError(
            f"{root} holds images both directly ({files[0]}) and in folders ({min(held)}); move "
            "them so that each class has a folder, or all images are in one folder"
        )
    for folder in folders:
        if folder not in held:
            counted = held and (classes is None or classes == "in-order")
            kind = "without images, which counts as a class" if counted else "without images"
            left_out.add(kind, f"{folder}/")
    if files:
        names = classes if isinstance(classes, dict) else None
        return FolderSource(root, files, None, names, left_out.notes(title))
    if not held:
        raise ImageError(
            f"{root} holds no images; {', '.join(IMAGE_SUFFIXES)} files were expected, directly or "
            f"in one folder per class; {left_out.found()}"
        )
    if not isinstance(classes, dict):
        _refuse_splits(root, held)
    used, notes = _class_map(root, found, classes)
    ids = [path.relative_to(root).as_posix() for folder in held for path in held[folder]]
    labels = [used[folder] for folder in held for _ in held[folder]]
    notes = (*left_out.notes(title), *notes)
    return FolderSource(root, ids, np.array(labels, dtype=np.int64), used, notes)


def _refuse_splits(root: Path, held: Mapping[str, Sequence[Path]]) -> None:
    """Refuse a data set that is divided for training and testing.

    Raises:
        ImageError: two folders are named as splits, or the only one is and holds folders.
    """
    splits = [folder for folder in held if folder.lower() in SPLITS]
    # "train" alone is a class of CIFAR-100; two such names, or class folders inside, are splits.
    inner = len(held) == 1 and any(len(p.relative_to(root).parts) > 2 for p in held[min(held)])
    if len(splits) > 1 or (splits and inner):
        best = min(splits, key=lambda folder: SPLITS.index(folder.lower()))
        raise ImageError(
            f"{root} holds the split{'s' if len(splits) > 1 else ''} {', '.join(splits)} of a data "
            f"set, not class folders; give one, such as {root / best}"
        )


def _class_map(
    root: Path, found: Mapping[str, Sequence[Path]], classes: KnownClasses
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Class index of each folder, and what is to be said of it."""
    if classes is None:
        return number_folders(list(found))
    if classes == "in-order":
        return number_folders(list(found))[0], ()
    held = [folder for folder, paths in found.items() if paths]
    if classes == "numbers":
        wrong = [folder for folder in held if not folder.isdecimal() or len(folder) > 9]
        if wrong:
            raise ImageError(
                f"the name of the class folder {root / wrong[0]} is not a class index, as "
                "`classes='numbers'` expects; map names to class indices in a file"
            )
        return {folder: int(folder) for folder in held}, ()
    indices = {folder: named(folder, classes) for folder in held}
    missing = [folder for folder, index in indices.items() if index is None]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ImageError(
            f"{len(missing)} of the {len(held)} class folders of {root} are not in the classes "
            f"given ({shown}); add them"
        )
    return {folder: index for folder, index in indices.items() if index is not None}, ()


def _listing(
    folder: Path, root: Path, shown_from: Path, left_out: LeftOut
) -> tuple[list[str], list[str]]:
    """Names of the folders and of the images in one folder, each sorted as strings."""
    folders, files, others = [], [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in _SYSTEM:
                    others.append((HIDDEN, entry.name))
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                    files.append(entry.name)
                else:
                    others.append((suffix_of(entry.name), entry.name))
                    continue
                _check_entry(entry, root)
    except OSError as failure:
        raise ImageError(
            f"{folder} cannot be listed ({failure.strerror}); check the path and permissions"
        ) from None
    # The system lists in any order; the example must be the same every time.
    for kind, name in sorted(others):
        left_out.add(kind, (folder / name).relative_to(shown_from).as_posix())
    return sorted(folders), sorted(files)


def _images_below(folder: Path, root: Path, left_out: LeftOut) -> list[Path]:
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
        folders, below[here] = _listing(here, root, folder.parent, left_out)
        waiting += [here / name for name in reversed(folders)]
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

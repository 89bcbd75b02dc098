"""Images and labels that cannot be used."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.bad_case import Case, pixels, save_images

__all__ = ["CASES", "TRAP", "objects_npy"]

TRAP = "trap-was-sprung"
"""File that the pickles in these cases would create."""

_NOISE = np.random.default_rng(0).bytes(4096)


class _Trap:
    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (Path(TRAP),)


def _arrays(**arrays: NDArray[np.generic]) -> Callable[[Path], object]:
    return lambda folder: save_images(folder, **arrays)


def _changed(value: float) -> NDArray[np.float32]:
    images = np.full((6, 8, 8), 0.5, dtype=np.float32)
    images[3, 2, 2] = value
    return images


def _file(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def _nameless(folder: Path) -> None:
    np.savez(folder / "images.npz", first=pixels(), second=np.arange(6))


def objects_npy(folder: Path) -> None:
    np.save(folder / "images.npy", np.array([_Trap()] * 6, dtype=object), allow_pickle=True)


def _objects_npz(folder: Path) -> None:
    np.savez(folder / "images.npz", images=np.array([_Trap()] * 6, dtype=object), allow_pickle=True)


def _object_labels(folder: Path) -> None:
    save_images(folder, labels=np.array([_Trap()] * 6, dtype=object))


def _cut_short(folder: Path) -> None:
    data = (folder / "images.npz").read_bytes()
    (folder / "images.npz").write_bytes(data[:200])


def _link_out(folder: Path) -> None:
    with h5py.File(folder.parent / "far.h5", "w") as far:
        far["images"] = pixels()
    with h5py.File(folder / "images.h5", "w") as near:
        near["images"] = h5py.ExternalLink(str(folder.parent / "far.h5"), "images")


def _pictures(folder: Path, *names: str) -> None:
    """JPEG files of noise, below ``folder``."""
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)


def _class_folders(folder: Path) -> None:
    _pictures(folder / "photos", *(f"{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(3)))


def _flat(folder: Path) -> None:
    _pictures(folder / "photos", "a.jpg", "b.jpg", "c.jpg")


def _mixed(folder: Path) -> None:
    _class_folders(folder)
    _pictures(folder / "photos", "stray.jpg")


def _cut_jpeg(folder: Path, *names: str) -> None:
    _class_folders(folder)
    for name in names:
        path = folder / "photos" / name
        path.write_bytes(path.read_bytes()[:200])


def _without_images(folder: Path) -> None:
    (folder / "photos").mkdir()
    (folder / "photos" / "notes.txt").write_text("no image")


def _flat_with(name: str, text: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        _flat(folder)
        (folder / name).write_text(text)

    return make


def _classes(text: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        _class_folders(folder)
        (folder / "classes.json").write_text(text)

    return make


def _photos(
    name: str, says: str, make: Callable[[Path], object], options: str = "--input-size 1,8,8"
) -> Case:
    return Case(name, says, images="photos", options=options, make=make)


_SOURCES = [
    Case("images missing", "none.npz does not exist", images="none.npz"),
    Case(
        "images of another kind",
        "text.txt is neither",
        images="text.txt",
        make=_file("text.txt", b""),
    ),
    _photos("folder empty", "photos holds no images", lambda f: (f / "photos").mkdir()),
    _photos("folder without images", "photos holds no images", _without_images),
    _photos("images beside and in folders", "directly (stray.jpg) and in folders (cat)", _mixed),
    Case("npz without images", "no array named images (it has first, second)", make=_nameless),
    Case(
        "npy of objects",
        "images.npy: the array holds Python objects",
        images="images.npy",
        make=objects_npy,
    ),
    Case("npz of objects", "images.npz: images holds Python objects", make=_objects_npz),
    Case("labels of objects", "images.npz: labels holds Python objects", make=_object_labels),
    Case(
        "npy that is a pickle",
        "images.npy cannot be read",
        images="images.npy",
        make=_file("images.npy", pickle.dumps(_Trap())),
    ),
    Case("npz cut short", "images.npz cannot be read", make=_cut_short),
    Case(
        "npy of random bytes",
        "x.npy cannot be read",
        images="x.npy",
        make=_file("x.npy", _NOISE),
    ),
    Case("npy of nothing", "x.npy cannot be read", images="x.npy", make=_file("x.npy", b"")),
    Case("h5 of random bytes", "x.h5 cannot be read", images="x.h5", make=_file("x.h5", _NOISE)),
    Case(
        "h5 that leads elsewhere", "is stored in another file", images="images.h5", make=_link_out
    ),
]

_VALUES = [
    Case("images of rank 2", "images have shape (6, 64)", make=_arrays(images=pixels(6, 64))),
    Case("images of 5 channels", "5 channels", make=_arrays(images=pixels(6, 8, 8, 5))),
    Case("no images", "there are no images", make=_arrays(images=pixels(0), labels=np.arange(0))),
    Case(
        "pixels of 0..255 as floats",
        "divide by 255",
        make=_arrays(images=pixels().astype(np.float32)),
    ),
    Case("one NaN pixel", "1 of 6 images failed", make=_arrays(images=_changed(np.nan))),
    Case("one infinite pixel", "1 of 6 images failed", make=_arrays(images=_changed(np.inf))),
    Case("images of int64", "images have type int64",
         make=_arrays(images=pixels().astype(np.int64))),
    _photos("one JPEG cut short", "1 of 6 images failed, the first is image cat/1.jpg",
            lambda f: _cut_jpeg(f, "cat/1.jpg"), "--input-size 1,8,8 --classes in-order"),
    _photos("all JPEGs cut short", "is damaged or cut short",
            lambda f: _cut_jpeg(f, *(f"{k}/{i}.jpg" for k in ("cat", "dog") for i in range(3)))),
]  # fmt: skip

_LABELS = [
    _photos("fewer class folders than classes", "2 class folders (cat, dog), but the model has 5",
            _class_folders),
    Case("labels too few", "labels have shape (5,)", make=_arrays(labels=np.arange(5))),
    Case("labels of floats", "labels have type float64", make=_arrays(labels=np.zeros(6))),
    Case("labels past the classes", "the first is 9 of image 0",
         make=_arrays(labels=np.full(6, 9))),
    Case("labels negative", "the label of image 0 is -1", make=_arrays(labels=np.full(6, -1))),
    _photos("flat folder without labels", "has no labels; give --labels FILE", _flat),
    _photos("label file missing", "none.csv does not exist", _flat,
            "--input-size 1,8,8 --labels none.csv"),
    _photos("label file that lacks images", "has no label for 2 of 3 images (b.jpg, c.jpg)",
            _flat_with("l.csv", "image_id,label\na.jpg,1\n"), "--input-size 1,8,8 --labels l.csv"),
    _photos("label file with a bad number", "has the label '1.5'",
            _flat_with("l.csv", "a.jpg,1.5\nb.jpg,0\nc.jpg,0\n"),
            "--input-size 1,8,8 --labels l.csv"),
    _photos("label file of another kind", "l.txt is neither .csv nor .json",
            _flat_with("l.txt", ""), "--input-size 1,8,8 --labels l.txt"),
    _photos("classes that lack a folder", "(dog); add them", _classes('{"cat": 0}'),
            "--input-size 1,8,8 --classes classes.json"),
    _photos("classes that are no JSON", "classes.json is not valid JSON", _classes("cat: 0"),
            "--input-size 1,8,8 --classes classes.json"),
    _photos("classes missing", "none.json does not exist", _class_folders,
            "--input-size 1,8,8 --classes none.json"),
]  # fmt: skip

CASES = [*_SOURCES, *_VALUES, *_LABELS]

"""Folders: what is found, in which order, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iaside_onnx.errors import ImageError
from iaside_onnx.images import Preprocess, open_images
from tests.support.pictures import picture

SPEC = Preprocess((3, 4, 5))


def class_folders(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        picture(root / name, seed=seed)
    return root


def test_class_folders_are_in_the_order_of_image_folder(tmp_path: Path) -> None:
    """Strings, not numbers: 10 before 2; the files of a folder before those of folders in it."""
    root = class_folders(
        tmp_path,
        "2/b.png",
        "2/a.JPG",
        "10/z.webp",
        "10/deep/x/a.jpeg",
        "10/deep-er/a.png",
        "n/A.Png",
    )
    (root / "2" / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    picture(root / ".hidden" / "x.png")
    picture(root / "2" / ".y.png")
    source = open_images(root)
    assert source.kind == "class-folder"
    assert list(source.ids) == [
        "10/z.webp",
        "10/deep-er/a.png",
        "10/deep/x/a.jpeg",
        "2/a.JPG",
        "2/b.png",
        "n/A.Png",
    ]
    assert source.labels is not None
    assert source.labels.dtype == np.int64
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 2]
    assert source.classes == {"10": 0, "2": 1, "n": 2}
    assert source.size is None
    assert len(source) == 6
    assert source.describe() == f"class folder {root.name} (6 images, 3 classes)"


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    root = class_folders(tmp_path, "b.png", "a.jpg")
    (root / "empty").mkdir()
    source = open_images(str(root), classes={"cat": 3})
    assert (source.kind, list(source.ids), source.labels) == ("folder", ["a.jpg", "b.png"], None)
    assert source.classes == {"cat": 3}
    assert source.describe() == f"folder {root.name} (2 images)"


@pytest.mark.parametrize("as_file", [True, False])
def test_classes_say_which_index_a_folder_has(tmp_path: Path, as_file: bool) -> None:
    root = class_folders(tmp_path / "photos", "cat/1.png", "dog/1.png")
    (root / "empty").mkdir()
    names = {"dog": 7, "cat": 9, "eel": 1}
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(names))
    source = open_images(root, classes=path if as_file else names)
    assert source.labels is not None
    assert source.labels.tolist() == [9, 7]
    assert source.classes == {"cat": 9, "dog": 7}


@pytest.mark.parametrize(
    ("classes", "part"),
    [
        ({"cat": 0}, "1 of the 2 class folders .* not in the classes given \\(dog\\)"),
        ({"cat": 0, "dog": True}, "'dog' to True"),
        ({"cat": 0, "dog": -1}, "'dog' to -1"),
        ({"cat": 0, "dog": 1.0}, "'dog' to 1.0"),
        ({"cat": 0, "dog": "1"}, "'dog' to '1'"),
        ({"cat": 0, "dog": 2**63}, "'dog' to 9223372036854775808"),
        ({"0": [1, "cat"]}, "names class 0 1"),
        ({"0": "cat", "1": "cat"}, "classes 0 and 1 the same name 'cat'"),
        ({"cat": "0", "dog": "1"}, "'cat' to '0'"),
        ({"0": "1", "1": "0"}, "numbers in quotes"),
        ({}, "must map class names"),
        ([], "must map class names"),
    ],
)
def test_wrong_classes_are_refused(tmp_path: Path, classes: Any, part: str) -> None:
    root = class_folders(tmp_path / "photos", "cat/1.png", "dog/1.png")
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(classes))
    for given in (classes, path):
        with pytest.raises(ImageError, match=part):
            open_images(root, classes=given)


def test_images_beside_and_in_folders_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path, "a.png", "cat/1.png")
    with pytest.raises(ImageError, match=r"directly \(a\.png\) and in folders \(cat\)"):
        open_images(tmp_path)


def test_an_empty_class_folder_counts_and_is_named(tmp_path: Path) -> None:
    """Without it all later classes would be numbered one too low."""
    class_folders(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "bird").mkdir()
    source = open_images(tmp_path)
    assert source.labels is not None
    assert source.labels.tolist() == [1, 2]
    assert source.classes == {"bird": 0, "cat": 1, "dog": 2}
    said = "1 without images, which counts as a class (bird/)"
    assert source.notes == (f"left out of folder {tmp_path.name}: {said}",)


@pytest.mark.parametrize("name", ["__MACOSX", "@eaDir", "lost+found"])
def test_a_folder_of_the_system_is_no_class(tmp_path: Path, name: str) -> None:
    """It is before all others in the order, and would shift the labels of all of them."""
    class_folders(tmp_path, "a/1.png", "b/1.png")
    picture(tmp_path / name / "1.png")
    source = open_images(tmp_path)
    assert source.classes == {"a": 0, "b": 1}
    assert list(source.ids) == ["a/1.png", "b/1.png"]
    assert name in source.notes[0]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (None, "found nothing"),
        ("a.txt", r"found 1 \.txt \(a\.txt\)"),
        ("sub/a.heic", r"found 1 \.heic \(sub/a\.heic\), 1 without images \(sub/\)"),
        (".hidden", r"found 1 hidden \(\.hidden\)"),
        ("a", r"found 1 without suffix \(a\)"),
    ],
)
def test_a_folder_without_images_is_refused(tmp_path: Path, name: str | None, found: str) -> None:
    """What is there instead is named, or users would look for a wrong path."""
    if name:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with pytest.raises(ImageError, match=rf"holds no images; \.jpg, \.jpeg, \.png, .*; {found}$"):
        open_images(tmp_path)


def test_a_path_that_is_not_there_and_one_of_another_kind(tmp_path: Path) -> None:
    for name in ("nowhere", "nowhere.npy", "nowhere.h5"):
        with pytest.raises(ImageError, match=f"{name} does not exist"):
            open_images(tmp_path / name)
    (tmp_path / "b.npz").mkdir()
    with pytest.raises(ImageError, match="holds no images"):
        open_images(tmp_path / "b.npz")
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(ImageError, match=r"a\.zip is neither a folder nor"):
        open_images(tmp_path / "a.zip")


@pytest.mark.parametrize("inner", ["a.png", "cat/a.png"])
def test_links_may_not_lead_out_of_the_folder(tmp_path: Path, inner: str) -> None:
    secret = picture(tmp_path / "outside" / "secret.png")
    link = tmp_path / "photos" / inner
    link.parent.mkdir(parents=True)
    link.symlink_to(secret)
    with pytest.raises(ImageError, match=r"is a link to .*secret\.png, outside"):
        open_images(tmp_path / "photos")


def test_links_within_the_folder_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "b.png").symlink_to("a.png")
    assert list(open_images(tmp_path).ids) == ["cat/a.png", "cat/b.png"]
    (tmp_path / "cat" / "up").symlink_to("..")
    with pytest.raises(ImageError, match="is a link to a folder that was already read"):
        open_images(tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """HDF5 could not hold it, at the end of a long run."""
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))).write_bytes(b"")
    with pytest.raises(ImageError, match="is not UTF-8"):
        open_images(tmp_path)


def test_a_bad_file_names_its_path_and_costs_no_other(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    os.mkfifo(tmp_path / "c.png")
    source = open_images(tmp_path)
    assert source.read(0, SPEC).pixels.shape == (3, 4, 5)
    with pytest.raises(ImageError, match=r"b\.png is not a JPEG, PNG, WebP"):
        source.read(1, SPEC)
    with pytest.raises(ImageError, match=r"c\.png is not a file"):
        source.read(2, SPEC)
    (tmp_path / "a.png").unlink()
    with pytest.raises(ImageError, match=r"a\.png does not exist"):
        source.read(0, SPEC)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    """One file would fill the memory. This one takes no room on the disk: it is one hole."""
    (tmp_path / "a.png").touch()
    os.truncate(tmp_path / "a.png", 512 * 2**20 + 1)
    with pytest.raises(ImageError, match=r"a\.png is larger than the limit of 536870912 bytes"):
        open_images(tmp_path).read(0, SPEC)


def test_an_image_that_is_too_long_is_named(tmp_path: Path) -> None:
    Image.new("L", (1_000_000, 1)).save(tmp_path / "line.png")
    with pytest.raises(ImageError, match=r"line\.png: an image of 1 x 1000000 pixels"):
        open_images(tmp_path).read(0, Preprocess((3, 224, 224)))

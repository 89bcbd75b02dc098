"""Which array or column holds the images and the labels, and the forms that labels have."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from iaside_onnx.errors import ImageError
from iaside_onnx.images import ImageSource, Preprocess, open_images
from tests.support.pictures import noise

SPEC = Preprocess((1, 4, 5))
N = 6
LABELS = np.array([2, 0, 1, 1, 2, 0])
TRAIN, TEST = (
    np.random.default_rng(seed).integers(0, 256, (N, 4, 5), dtype=np.uint8) for seed in (0, 1)
)
KINDS = ["npz", "npz-packed", "h5"]


def save(path: Path, kind: str, **arrays: Any) -> Path:
    path = path / f"a.{kind.partition('-')[0]}"
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "npz-packed":
        np.savez_compressed(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
    return path


def labels(source: ImageSource) -> list[int]:
    assert source.labels is not None
    return [int(label) for label in source.labels]


def holds(source: ImageSource, images: NDArray[np.uint8]) -> bool:
    pixels = source.read(4, SPEC).pixels[0] * 255
    return len(source) == len(images) and bool((np.round(pixels) == images[4]).all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("images", "answers"),
    [
        ("x_test", "y_test"), ("X_test", "y_test"), ("test_images", "test_labels"),
        ("test_set_x", "test_set_y"), ("X", "y"), ("data", "target"), ("image", "label"),
        ("imgs", "cls"), ("x-val", "y-val"), ("images", "y"),
    ],
)  # fmt: skip
def test_a_pair_of_usual_names(tmp_path: Path, kind: str, images: str, answers: str) -> None:
    """As Keras, MedMNIST and scikit-learn name them."""
    path = save(tmp_path, kind, **{answers: LABELS, images: TEST})
    source = open_images(path)
    assert holds(source, TEST)
    assert labels(source) == LABELS.tolist()
    said = (
        []
        if images == "images"
        else [f"images and labels of {path}: the arrays {images}, {answers}"]
    )
    assert list(source.notes) == said


@pytest.mark.parametrize("kind", KINDS)
def test_two_splits_ask_for_one(tmp_path: Path, kind: str) -> None:
    """One of them is what the model was trained on."""
    arrays = {"x_train": TRAIN, "y_train": LABELS, "x_test": TEST, "y_test": LABELS[::-1]}
    path = save(tmp_path, kind, **arrays)
    with pytest.raises(ImageError, match=r"the images \(x_test, x_train\)|\(x_train, x_test\)"):
        open_images(path)
    source = open_images(path, images_key="x_test")
    assert holds(source, TEST)
    assert labels(source) == LABELS[::-1].tolist()
    other = open_images(path, images_key="x_test", labels_key="y_train")
    assert labels(other) == LABELS.tolist()
    with pytest.raises(ImageError, match="has no 'x_val'; it has x_test, x_train"):
        open_images(path, images_key="x_val")
    with pytest.raises(ImageError, match="has no 'z'"):
        open_images(path, images_key="x_test", labels_key="z")


@pytest.mark.parametrize("kind", KINDS)
def test_images_and_labels_by_their_own_names_come_first(tmp_path: Path, kind: str) -> None:
    """Files that were read before must give the same images."""
    source = open_images(save(tmp_path, kind, images=TEST, labels=LABELS, x=TRAIN, y=LABELS[::-1]))
    assert holds(source, TEST)
    assert labels(source) == LABELS.tolist()


def test_groups_of_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for split, images in (("train", TRAIN), ("test", TEST)):
            file[f"{split}/images"], file[f"{split}/labels"] = images, LABELS
        file["a/b/c"] = TEST
    source = open_images(tmp_path / "a.h5", images_key="test/images")
    assert holds(source, TEST)
    assert labels(source) == LABELS.tolist()
    assert holds(open_images(tmp_path / "a.h5", images_key="a/b/c"), TEST)
    with pytest.raises(ImageError, match="several arrays that may be the images"):
        open_images(tmp_path / "a.h5")


@pytest.mark.parametrize("key", ["away/images", "soft/images", "deep/away/images"])
def test_a_key_may_not_lead_out_of_the_file(tmp_path: Path, key: str) -> None:
    """Also not by a link half way."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["images"] = TEST
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["away"] = h5py.ExternalLink("secret.h5", "/")
        file["soft"] = h5py.SoftLink("/away")
        file["deep/away"] = h5py.ExternalLink("secret.h5", "/")
    with pytest.raises(ImageError, match="is stored in another file"):
        open_images(tmp_path / "a.h5", images_key=key)


def test_sources_without_keys(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", TEST)
    Image.fromarray(TEST[0]).save(tmp_path / "a.png")
    for source in (tmp_path, tmp_path / "a.npy", TEST, (TEST, LABELS)):
        with pytest.raises(ImageError, match="no named arrays or columns, so images key do"):
            open_images(source, images_key="x")


@pytest.mark.parametrize("kind", [*KINDS, "array"])
@pytest.mark.parametrize(
    "values",
    [
        LABELS[:, None],
        LABELS[:, None].astype(np.uint8),
        np.eye(3)[LABELS],
        np.eye(3, dtype=np.uint8)[LABELS],
        np.eye(3, dtype=bool)[LABELS],
        np.array([str(label) for label in LABELS]).astype("S"),
    ],
    ids=["column", "uint8", "one-hot", "one-hot uint8", "one-hot bool", "digits"],
)
def test_forms_of_labels(tmp_path: Path, kind: str, values: NDArray[Any]) -> None:
    """MedMNIST has a column, Keras one-hot rows."""
    source = open_images(
        (TEST, values) if kind == "array" else save(tmp_path, kind, images=TEST, labels=values)
    )
    assert labels(source) == LABELS.tolist()
    one_hot = values.ndim == 2 and values.shape[1] == 3
    assert [note.endswith("one-hot, 3 columns") for note in source.notes] == [True] * one_hot


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "row", [[0.2, 0.5, 0.3], [0, 0, 0], [1, 1, 0], [0, 2, 0], [0, -1, 0], [np.nan, 0, 0]]
)
def test_rows_that_are_not_one_hot(tmp_path: Path, kind: str, row: list[float]) -> None:
    """Several labels, soft labels or boxes have no single class."""
    values = np.eye(3)[LABELS]
    values[3] = row
    with pytest.raises(ImageError, match=r"labels have shape \(6, 3\), and that of image 3 is not"):
        open_images(save(tmp_path, kind, images=TEST, labels=values))


@pytest.mark.parametrize("form", ["npz", "npz-packed", "h5 bytes", "h5 text", "h5 column", "array"])
def test_labels_that_are_names(tmp_path: Path, form: str) -> None:
    names = np.array(["cat", "dog", "Käfer"])[LABELS]
    source: Any = None
    if form == "array":
        source = (TEST, names)
    elif form.startswith("npz"):
        source = save(tmp_path, form, images=TEST, labels=names)
    else:
        stored: Any = names.astype(object)
        if form == "h5 bytes":
            stored = np.array([name.encode() for name in names])
        elif form == "h5 column":
            stored = stored[:, None]
        source = save(tmp_path, "h5", images=TEST, labels=stored)
    found = open_images(source, classes={"cat": 5, "dog": 7, "Käfer": 9})
    assert labels(found) == [[5, 7, 9][label] for label in LABELS]
    # Without a map they are not labels, but the images are still images.
    unknown = open_images(source)
    assert unknown.labels is None
    assert "whose labels are names that need `classes=FILE`" in unknown.describe()
    with pytest.raises(ImageError, match=r"has the label 'Käfer'.*not among the class names"):
        open_images(source, classes={"cat": 5, "dog": 7})


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(4, 5, seed)[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(path: Path, declared: tuple[str, ...] = (), **columns: Any) -> Path:
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    if declared:
        kind = {"_type": "ClassLabel", "names": ["cat", "dog", "eel"]}
        info = json.dumps({"info": {"features": dict.fromkeys(declared, kind)}})
        table = table.replace_schema_metadata({"huggingface": info})
    pq.write_table(table, path, row_group_size=2)
    return path


IMAGES = [png(i) for i in range(N)]
STRUCTS = [{"bytes": data, "path": None} for data in IMAGES]


@pytest.mark.parametrize("images", [IMAGES, STRUCTS], ids=["bytes", "structs"])
@pytest.mark.parametrize("name", ["labels", "cls", "fine_label", "y", "target", "label"])
def test_columns_of_usual_names(tmp_path: Path, images: list[Any], name: str) -> None:
    columns: dict[str, Any] = {"picture": images, "width": [5] * N, name: LABELS}
    source = open_images(parquet(tmp_path / "a.parquet", **columns))
    assert labels(source) == LABELS.tolist()
    for i in (5, 0, 3):
        pixels = source.read(i, SPEC).pixels[0] * 255
        assert (np.round(pixels) == noise(4, 5, i)[..., 0]).all()


def test_two_columns_of_labels_ask_for_one(tmp_path: Path) -> None:
    """CIFAR-100 has fine and coarse labels."""
    columns: dict[str, Any] = {"img": STRUCTS, "fine_label": LABELS, "coarse_label": LABELS % 2}
    for declared in ((), ("fine_label", "coarse_label")):
        path = parquet(tmp_path / "a.parquet", declared, **columns)
        source = open_images(path)
        assert source.labels is None
        assert "may be fine_label, coarse_label: choose one with `labels_key=`" in source.describe()
        assert labels(open_images(path, labels_key="coarse_label")) == (LABELS % 2).tolist()
    with pytest.raises(ImageError, match="has no column 'x'; it has img, fine_label"):
        open_images(path, labels_key="x")


def test_two_columns_of_images_ask_for_one(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", left=STRUCTS[::-1], right=STRUCTS, raw=IMAGES[::-1])
    with pytest.raises(ImageError, match=r"several columns of images.*`images_key="):
        open_images(path)
    for key, first in (("right", 0), ("left", 5), ("raw", 5)):
        found = open_images(path, images_key=key).read(0, SPEC).pixels[0] * 255
        assert (np.round(found) == noise(4, 5, first)[..., 0]).all()
    with pytest.raises(ImageError, match="no column 'x' of images"):
        open_images(path, images_key="x")

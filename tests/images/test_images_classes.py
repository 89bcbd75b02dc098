"""Which class a name is: maps either way round, the order of folders, forms of Unicode."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iaside_onnx.errors import ImageError
from iaside_onnx.images import ImageSource, match_labels, open_images, read_classes
from tests.support.pictures import picture

ACCENTS = ("Käfer", "São Paulo", "é")
Form: TypeAlias = Literal["NFC", "NFD"]
ACROSS: list[tuple[Form, Form]] = [("NFC", "NFD"), ("NFD", "NFC")]


def labels(source: ImageSource) -> list[int]:
    assert source.labels is not None
    return [int(label) for label in source.labels]


def folders(root: Path, *names: str) -> Path:
    for name in names:
        picture(root / name / "a.png")
    return root


@pytest.mark.parametrize(
    "data",
    [
        {"cat": 0, "dog": 1},
        {"0": "cat", "1": "dog"},
        {"1": "dog", "0": "cat"},
        ["cat", "dog"],
        {"0": ["cat", "Felis catus"], "1": ["dog", "Canis"]},
        {"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}, "num_labels": 2},
        {"label2id": {"cat": 0, "dog": 1}},
        {"architecture": "resnet18", "label_names": ["cat", "dog"]},
    ],
    ids=["names", "turned", "unsorted", "list", "keras", "config", "label2id", "timm"],
)
def test_maps_either_way_round(tmp_path: Path, data: Any) -> None:
    """A config.json of the hub, or a file for Keras, would be refused or read the wrong way."""
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(data))
    for given in (path, str(path), data):
        source = open_images(folders(tmp_path / "photos", "cat", "dog"), classes=given)
        assert labels(source) == [0, 1]
        source = open_images(folders(tmp_path / "one", "dog"), classes=given)
        assert labels(source) == [1]


def test_integers_as_keys_and_lines_of_text(tmp_path: Path) -> None:
    """As ``model.config.id2label`` is in Python, and as lists of ImageNet's classes are."""
    root = folders(tmp_path / "photos", "dog")
    assert labels(open_images(root, classes={0: "cat", 1: "dog"})) == [1]
    path = tmp_path / "classes.txt"
    path.write_text("\ufeffcat\r\ndog\r\n\r\n", encoding="utf-8")
    assert read_classes(path) == {"cat": 0, "dog": 1}
    path.write_bytes(b"\xff")
    with pytest.raises(ImageError, match="not text in UTF-8"):
        read_classes(path)


def test_names_that_two_classes_share(tmp_path: Path) -> None:
    """ImageNet has two cranes: by name they cannot be told apart, by their other name they can."""
    both = {"134": ["n02012849", "crane"], "517": ["n03126707", "crane"]}
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(both))
    assert read_classes(path) == {"n02012849": 134, "n03126707": 517}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["0", "1", "10", "2"], "folder 10 is class 2; `classes='numbers'`"),
        (["1", "2", "3"], "folder 1 is class 0; `classes='numbers'`"),
        (["class1", "class10", "class2"], "folder class10 is class 1"),
        (["0", "1", "2"], None),
        (["00", "01", "10"], "folder 10 is class 2; `classes='numbers'`"),
        (["ant", "bee", "cat"], None),
        (["n01440764", "n01443537"], None),
    ],
)
def test_an_order_that_people_may_not_expect_is_said(
    tmp_path: Path, names: list[str], says: str | None
) -> None:
    """The labels are those of torchvision, which sorts strings; others count 10 behind 9."""
    source = open_images(folders(tmp_path, *names))
    assert labels(source) == list(range(len(names)))
    assert list(source.classes or ()) == sorted(names)
    assert len(source.notes) == (says is not None)
    if says:
        assert says in source.notes[0]
    assert open_images(tmp_path, classes="in-order").notes == ()


def test_folders_named_by_their_class_index(tmp_path: Path) -> None:
    root = folders(tmp_path / "photos", "0", "10", "2", "007")
    source = open_images(root, classes="numbers")
    assert labels(source) == [0, 7, 10, 2]
    assert source.notes == ()
    folders(root, "cat")
    with pytest.raises(ImageError, match=r"photos/cat is not a class index"):
        open_images(root, classes="numbers")
    picture(tmp_path / "flat" / "a.png")
    assert open_images(tmp_path / "flat", classes="numbers").labels is None


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["train/cat/a", "val/cat/a"], "the splits train, val of .* such as .*/val$"),
        (["Train/a", "TEST/a", "extra/a"], "the splits TEST, Train of .* such as .*/TEST$"),
        (["validation/cat/a", "test/cat/a", "train/cat/a"], "such as .*/test$"),
        (["train/cat/a"], "the split train of .* such as .*/train$"),
    ],
)
def test_splits_are_no_classes(tmp_path: Path, names: list[str], says: str) -> None:
    """All images would have one of two labels, training images among them."""
    for name in names:
        picture(tmp_path / f"{name}.png")
    with pytest.raises(ImageError, match=says):
        open_images(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    """As in CIFAR-100; who maps the names of the folders says that they are classes."""
    assert labels(open_images(folders(tmp_path, "apple", "train"))) == [0, 1]
    folders(tmp_path, "test")
    assert labels(open_images(tmp_path, {"apple": 0, "test": 7, "train": 9})) == [0, 7, 9]


@pytest.mark.parametrize("suffix", [".tar", ".parquet"])
@pytest.mark.parametrize("names", [("net-train-0", "net-val-0"), ("train", "test")])
def test_shards_of_several_splits(tmp_path: Path, suffix: str, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / f"{name}{suffix}").touch()
    with pytest.raises(ImageError, match="several data sets or splits"):
        open_images(tmp_path)


@pytest.mark.parametrize(("here", "there"), ACROSS)
def test_names_of_folders_in_the_other_form(tmp_path: Path, here: Form, there: Form) -> None:
    """A Mac writes accents apart from their letters; both look the same on every screen."""
    root = folders(tmp_path, *(unicodedata.normalize(here, name) for name in ACCENTS))
    given = {unicodedata.normalize(there, name): 5 + i for i, name in enumerate(ACCENTS)}
    assert sorted(labels(open_images(root, classes=given))) == [5, 6, 7]


@pytest.mark.parametrize(("here", "there"), ACROSS)
def test_ids_and_labels_in_the_other_form(tmp_path: Path, here: Form, there: Form) -> None:
    ids = [unicodedata.normalize(here, f"x/{name}.jpg") for name in ACCENTS]
    lines = [unicodedata.normalize(there, f"x/{name}.jpg,{name}") for name in ACCENTS]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    known = {unicodedata.normalize(here, name): i for i, name in enumerate(ACCENTS)}
    assert match_labels(path, ids, known)[0].tolist() == [0, 1, 2]


def test_ids_without_suffix(tmp_path: Path) -> None:
    """As in many competitions; dots in names are no suffixes."""
    path = tmp_path / "labels.csv"
    path.write_text("id,label\nx/a,3\nb.v2,4\nc.png,5\nd.JPG,6\nother,7\n")
    found = match_labels(path, ["x/a.png", "b.v2.jpeg", "c.png", "d.JPG"], None)[0]
    assert found.tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("ids", "text"),
    [(["a.png", "a.jpg"], "a,1\n"), (["é.png", "e\u0301.png"], "é.png,1\n")],
)
def test_a_line_that_may_be_of_two_images(tmp_path: Path, ids: list[str], text: str) -> None:
    """One of the two labels would be made up."""
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ImageError, match=r"may be that of .*write the names of the files in full"):
        match_labels(path, ids, None)


def test_exact_names_come_first(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("é.png,1\ne\u0301.png,2\na,3\na.png,4\n", encoding="utf-8")
    assert match_labels(path, ["é.png", "e\u0301.png", "a.png"], None)[0].tolist() == [1, 2, 4]


def parquet(path: Path, label: pa.Array, names: list[str] | None = None) -> Path:
    kind = pa.struct([("bytes", pa.binary())])
    table = pa.table({"image": pa.array([{"bytes": b"x"}] * len(label), kind), "label": label})
    if names:
        features = {"label": {"_type": "ClassLabel", "names": names}}
        info = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": info})
    pq.write_table(table, path)
    return path


def test_names_in_the_metadata_of_parquet(tmp_path: Path) -> None:
    """Text is looked up in them; integers are of the data set, so a map must reach them too."""
    text = pa.array(["dog", "cat"])
    assert labels(open_images(parquet(tmp_path / "a.parquet", text, ["cat", "dog"]))) == [1, 0]
    words = pa.array(["dog", "cat"]).dictionary_encode()
    given = {"cat": 3, "dog": 4}
    assert labels(open_images(parquet(tmp_path / "b.parquet", words), classes=given)) == [4, 3]
    integers = parquet(tmp_path / "c.parquet", pa.array([1, 0, 1]), ["cat", "dog"])
    assert labels(open_images(integers)) == [1, 0, 1]
    assert labels(open_images(integers, classes="in-order")) == [1, 0, 1]
    assert labels(open_images(integers, classes={"dog": 207, "cat": 281})) == [207, 281, 207]
    with pytest.raises(ImageError, match="the label 'cat' is not in the classes given"):
        open_images(integers, classes={"dog": 207})
    plain = parquet(tmp_path / "d.parquet", pa.array(["1", "0"]))
    assert labels(open_images(plain)) == [1, 0]
    with pytest.raises(ImageError, match="`classes='numbers'` does not apply"):
        open_images(integers, classes="numbers")

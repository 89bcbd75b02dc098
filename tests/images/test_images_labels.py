"""Labels from files, and which images a limit takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iaside_onnx.errors import ImageError, OptionError
from iaside_onnx.images import match_labels, read_classes, sample_images

IDS = ["a/1.jpg", "a/2.jpg", "b.jpg"]
CLASSES = {"cat": 4, "dog": 2, "2": 2}


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "image_id,label\nb.jpg,7\na/1.jpg,4\na/2.jpg,2\n",
        "b.jpg,7\r\na/1.jpg,cat\r\na/2.jpg,dog\r\n",
        '\ufeffimage_id,label\n"b.jpg",7\na/1.jpg, +4\n\na/2.jpg ,2\nfurther.jpg,1\n',
    ],
)
def test_csv_with_and_without_header_in_any_order(tmp_path: Path, text: str) -> None:
    labels = match_labels(csv_file(tmp_path, text), IDS, CLASSES)[0]
    assert labels.dtype == np.int64
    assert labels.tolist() == [4, 2, 7]


def test_json_of_integers_and_names(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"a/1.jpg": "cat", "a/2.jpg": 0, "b.jpg": "12", "c": None}))
    assert match_labels(path, IDS, CLASSES)[0].tolist() == [4, 0, 12]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("b.jpg,1\n", r"no label for 2 of 3 images \(a/1\.jpg, a/2\.jpg\)"),
        ("", r"3 of 3 images \(a/1\.jpg, a/2\.jpg, b\.jpg\)"),
        ("b.jpg,1\nb.jpg,1\n", "'b.jpg' more than once"),
        ("a/1.jpg,1\na/2.jpg,cow\nb.jpg,1", "image 'a/2.jpg' has the label 'cow'.*not among"),
        ("a/1.jpg,1\na/2.jpg,1.0\nb.jpg,1", "label '1.0'"),
        ("a/1.jpg,1\na/2.jpg,-1\nb.jpg,1", "label -1"),
        ("a/1.jpg,1\na/2.jpg,1_0\nb.jpg,1", "label '1_0'"),
        ("a/1.jpg,1\na/2.jpg,\nb.jpg,1", "label ''"),
        ("a/1.jpg,1\na/2.jpg,9223372036854775808\nb.jpg,1", "label 9223372036854775808"),
        (f"a/1.jpg,1\na/2.jpg,{'9' * 5000}\nb.jpg,1", "label '999"),
        ("a/1.jpg,1,2\n", "row 1: two columns, .*found 3"),
        ("a/1.jpg\n", "found 1"),
        ('"a/1.jpg,1\n', "not valid CSV"),
        ("image,label\na/1.jpg,1\na/2.jpg,x\nb.jpg,1", "label 'x'"),
    ],
)
def test_wrong_csv_says_what_and_where(tmp_path: Path, text: str, part: str) -> None:
    path = csv_file(tmp_path, text)
    with pytest.raises(ImageError, match=part) as caught:
        match_labels(path, IDS, CLASSES)
    assert str(path) in str(caught.value)


def test_four_missing_are_cut_to_three(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"5 of 5 images \(0, 1, 2, \.\.\.\)"):
        match_labels(csv_file(tmp_path, ""), ["0", "1", "2", "3", "4"], None)


@pytest.mark.parametrize("label", [True, None, 1.0, -3, [1], 2**63])
def test_json_labels_that_are_no_class(tmp_path: Path, label: Any) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"a": label}))
    with pytest.raises(ImageError, match=r"image 'a' has the label .*no class names were given"):
        match_labels(path, ["a"], None)


def test_json_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text("[1, 2, 3]")
    with pytest.raises(ImageError, match="must be a JSON object"):
        match_labels(path, IDS, None)


def test_json_that_names_an_image_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"a": 1, "a": 2}')
    with pytest.raises(ImageError, match=r"^\S+labels\.json names 'a' more than once"):
        match_labels(path, ["a"], None)


def test_a_digit_that_also_names_another_class_is_refused(tmp_path: Path) -> None:
    """Folder 3 with class index 5: the label 3 could mean either."""
    with pytest.raises(ImageError, match="both a class index and the name of class 5"):
        match_labels(csv_file(tmp_path, "a,3\n"), ["a"], {"3": 5})
    assert match_labels(csv_file(tmp_path, "a,3\n"), ["a"], {"3": 3})[0].tolist() == [3]


@pytest.mark.parametrize("name", ["labels.txt", "labels.csv", "labels.json"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=r"^\S+ (is neither \.csv nor \.json|does not exist)"):
        match_labels(tmp_path / name, IDS, None)


def test_read_classes_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text('{"cat": 1}')
    assert read_classes(path) == {"cat": 1}
    path.write_text('{"cat": "1"}')
    with pytest.raises(ImageError, match=r"classes\.json maps 'cat' to '1'"):
        read_classes(path)


labelled = st.lists(st.integers(0, 6), min_size=1, max_size=80).map(
    lambda values: np.array(values, dtype=np.int64) * 1000
)


@given(labels=labelled, limit=st.integers(1, 90), seed=st.integers(0, 2**40))
def test_a_sample_is_balanced_over_classes(labels: Any, limit: int, seed: int) -> None:
    """A class gets fewer than another, by more than one, only where it has no more images."""
    taken = sample_images(len(labels), labels, limit, seed)
    assert taken.dtype == np.int64
    assert len(set(taken.tolist())) == len(taken) == min(limit, len(labels))
    assert (np.diff(taken) > 0).all()
    counts = {c: int((labels[taken] == c).sum()) for c in set(labels.tolist())}
    most = max(counts.values())
    for c, count in counts.items():
        assert count >= most - 1 or count == int((labels == c).sum())


@given(labels=st.none() | labelled, a=st.integers(1, 90), b=st.integers(1, 90))
def test_a_smaller_limit_takes_a_subset(labels: Any, a: int, b: int) -> None:
    n = 60 if labels is None else len(labels)
    small, large = sorted((a, b))
    assert set(sample_images(n, labels, small, 5)) <= set(sample_images(n, labels, large, 5))


def test_a_sample_depends_on_the_seed_alone() -> None:
    labels = np.arange(1000) % 10
    first = sample_images(1000, labels, 100, 1)
    assert (first == sample_images(1000, labels, 100, 1)).all()
    assert (first != sample_images(1000, labels, 100, 2)).any()
    plain = sample_images(1000, None, 100, 1)
    assert (plain != sample_images(1000, None, 100, 2)).any()


def test_a_class_keeps_its_images_when_another_comes_in() -> None:
    labels = np.repeat([3, 5], 50)
    more = np.repeat([3, 5, 9], 50)
    two, three = sample_images(100, labels, 20, 0), sample_images(150, more, 30, 0)
    assert two.tolist() == three[three < 100].tolist()


def test_every_image_and_every_class_has_the_same_chance() -> None:
    """The first files of a class, and the first classes, must not be preferred."""
    labels = np.repeat(np.arange(4), 5)
    images, classes = np.zeros(20), np.zeros(4)
    for seed in range(2000):
        taken = sample_images(20, labels, 6, seed)
        images[taken] += 1
        classes += np.bincount(labels[taken], minlength=4)
    # 600 expected for each image, with a standard deviation of about 20; 3000 for each class.
    assert np.abs(images - 600).max() < 110
    assert np.abs(classes - 3000).max() < 120


@pytest.mark.parametrize("limit", [None, 7, 8])
def test_no_limit_takes_all(limit: int | None) -> None:
    assert sample_images(7, None, limit, 0).tolist() == list(range(7))


@pytest.mark.parametrize(("limit", "seed"), [(0, 0), (-1, 0), (3, -1)])
def test_impossible_options(limit: int, seed: int) -> None:
    with pytest.raises(OptionError, match="must be at least"):
        sample_images(7, None, limit, seed)

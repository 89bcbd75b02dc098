"""Runs over folders and files of strangers: which labels they give, and what they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import iaside_onnx
from iaside_onnx.errors import ImageError
from iaside_onnx.runs import extend, verify
from tests.support.bad_case import pixels, save_model, save_wide
from tests.support.command import Outcome, in_subprocess

# The model that the tests write has five classes.
NAMES = ("ant", "bee", "cat", "dog", "eel")
WORDS: dict[str, Any] = {"bands": 2, "input_size": (1, 8, 8)}
# An EXIF block that promises five entries and holds one.
CUT_EXIF = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\x01\0\0\0\x06\0"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    save_model(tmp_path)
    return tmp_path


def folders(work: Path, *names: str) -> Path:
    """Class folders of two images each."""
    for seed, name in enumerate(names):
        place = work / "photos" / name
        place.mkdir(parents=True)
        for i, image in enumerate(pixels(2)):
            Image.fromarray(np.roll(image, seed)).save(place / f"{i}.png")
    return work / "photos"


def decompose(work: Path, images: Any, **options: Any) -> Path:
    out = work / "out.h5"
    words = {**WORDS, "overwrite": True, **options}
    iaside_onnx.decompose(work / "model.onnx", images, out, **words)
    return out


def labels_of(path: Path) -> dict[str, int]:
    """Label of each image, read by h5py alone."""
    with h5py.File(path) as file:
        ids = [name.decode() for name in file["image_id"][()]]
        return dict(zip(ids, map(int, file["label"][()]), strict=True))


def by_folder(indices: Mapping[str, int]) -> dict[str, int]:
    return {f"{name}/{i}.png": index for name, index in indices.items() for i in range(2)}


def test_a_missing_class_folder_is_an_error(work: Path) -> None:
    """Without it, dog and eel would have the labels of cat and dog, and accuracy would be wrong."""
    photos = folders(work, "ant", "bee", "dog", "eel")
    with pytest.raises(ImageError) as caught:
        decompose(work, photos)
    message = str(caught.value)
    for part in ("has 4 class folders (ant, bee, dog, ...)", "the model has 5 classes",
                 "`classes=FILE`", "`classes='in-order'` if they are the classes 0 to 3",
                 "`classes='numbers'`"):  # fmt: skip
        assert part in message
    assert not (work / "out.h5").exists()
    named = {name: index for index, name in enumerate(NAMES) if name != "cat"}
    assert labels_of(decompose(work, photos, classes=named)) == by_folder(named)
    ordered = decompose(work, photos, classes="in-order")
    assert labels_of(ordered) == by_folder({"ant": 0, "bee": 1, "dog": 2, "eel": 3})


@pytest.mark.parametrize("names", [NAMES[:1], (*NAMES, "fox")])
def test_any_other_number_of_folders_is_one_too(work: Path, names: tuple[str, ...]) -> None:
    """One too many, such as that of a tool, shifts labels just as well."""
    with pytest.raises(ImageError, match=rf"has {len(names)} class folders .* has 5 classes"):
        decompose(work, folders(work, *names))


def test_as_many_folders_as_classes(work: Path) -> None:
    """Also if one of them is empty, which was an error with bad advice."""
    photos = folders(work, *NAMES[:2], *NAMES[3:])
    (photos / "cat").mkdir()
    out = decompose(work, photos)
    assert labels_of(out) == by_folder({"ant": 0, "bee": 1, "dog": 3, "eel": 4})


def test_folders_that_are_named_by_numbers(work: Path) -> None:
    photos = folders(work, "0", "1", "4")
    assert labels_of(decompose(work, photos, classes="numbers")) == by_folder(
        {"0": 0, "1": 1, "4": 4}
    )


def test_runs_that_need_no_names_are_not_stopped(work: Path) -> None:
    photos = folders(work, "ant", "eel")
    decompose(work, photos, labels="predicted")
    (work / "labels.csv").write_text("ant/0,0\nant/1,0\neel/0,4\neel/1,4\n")
    out = decompose(work, photos, labels=work / "labels.csv")
    assert labels_of(out) == by_folder({"ant": 0, "eel": 4})
    (work / "labels.csv").write_text("ant/0,ant\nant/1,0\neel/0,eel\neel/1,4\n")
    with pytest.raises(ImageError, match="has 2 class folders"):
        decompose(work, photos, labels=work / "labels.csv")


def test_names_of_a_parquet_file_count_too(work: Path) -> None:
    """Ten classes of a data set have other numbers in a model of a thousand."""
    rows = [path.read_bytes() for path in sorted(folders(work, "ant", "eel").rglob("*.png"))]
    table = pa.table({"image": rows, "label": [0, 0, 1, 1]})
    features = {"label": {"_type": "ClassLabel", "names": ["ant", "eel"]}}
    info = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": info}), work / "a.parquet")
    with pytest.raises(ImageError, match=r"has 2 class names \(ant, eel\), but the model has 5"):
        decompose(work, work / "a.parquet")
    out = decompose(work, work / "a.parquet", classes=["ant", "bee", "cat", "dog", "eel"])
    assert list(labels_of(out).values()) == [0, 0, 4, 4]


@pytest.mark.parametrize("workers", [1, 2])
def test_keys_reach_workers_and_later_commands(work: Path, workers: int) -> None:
    """They would open other images, or none."""
    save_wide(work)
    test = pixels(40, 28, 28)
    answers = np.arange(40) % 5
    np.savez(
        work / "all.npz",
        x_train=test[::-1], y_train=answers, x_test=test, y_test=answers[::-1],
        other=answers[:, None],
    )  # fmt: skip
    np.savez(work / "plain.npz", images=test, labels=answers)
    options = {
        "bands": 8, "method": "sampled", "budget": 800, "threads": 1, "input_size": (1, 28, 28),
    }  # fmt: skip
    with h5py.File(decompose(work, work / "plain.npz", **options)) as file:
        expected = {name: file[name][()] for name in ("image_sha256", "label", "worth")}
    out = decompose(
        work, work / "all.npz", images_key="x_test", labels_key="other", workers=workers, **options
    )
    with h5py.File(out) as file:
        for name, values in expected.items():
            np.testing.assert_array_equal(file[name][()], values)
    assert labels_of(extend(out, budget=1200, workers=workers).path) == labels_of(out)
    assert verify(out, sample=4).problems == []


def command(work: Path, *words: str) -> Outcome:
    return in_subprocess(
        "decompose", "model.onnx", "--images", "photos", "-o", "out.h5", "--bands", "2",
        "--input-size", "1,8,8", "--labels", "predicted", *words, cwd=work,
    )  # fmt: skip


@pytest.mark.parametrize("workers", ["1", "2"])
def test_warnings_of_pillow_on_stderr(work: Path, workers: str) -> None:
    """Not as a warning of Python with a line of Pillow's source, and not without the file."""
    photos = folders(work, *NAMES)
    Image.fromarray(pixels(1)[0]).save(photos / "bee" / "cut.jpg", exif=CUT_EXIF)
    done = command(work, "--workers", workers)
    done.succeeds()
    assert "Warning:" not in done.err.replace("Pillow warns:", "")
    lines = [line for line in done.err.splitlines() if "EXIF" in line]
    assert set(lines) == {lines[0]}
    assert "photos/bee/cut.jpg: Pillow warns: Corrupt EXIF data" in lines[0]


def test_what_is_left_out_is_said_and_archived(work: Path) -> None:
    photos = folders(work, *NAMES)
    (photos / "cat" / "a.heic").touch()
    done = command(work)
    done.succeeds()
    said = "left out of folder photos: 1 .heic (cat/a.heic)"
    assert said in done.err.splitlines()
    with h5py.File(work / "out.h5") as file:
        assert said in json.loads(file.attrs["notes"])

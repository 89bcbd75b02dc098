"""Parquet files and WebDataset shards: names, labels, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iaside_onnx.errors import ImageError
from iaside_onnx.images import Preprocess, open_images
from tests.support.pictures import picture, tar

SPEC = Preprocess((3, 6, 8))
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
N = 50


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures that all differ."""
    folder = tmp_path_factory.mktemp("pictures")
    return [picture(folder / f"p{i:02d}.png", seed=i) for i in range(N)]


def rows(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The hub's image struct."""
    return [{"bytes": path.read_bytes(), "path": path.name} for path in files]


def parquet(
    path: Path, images: Sequence[Any], labels: Any = None, features: Any = None, group: int = 7,
    column: str = "image", label: str = "label",
) -> Path:  # fmt: skip
    """A file as the hub's data sets have it, a few rows in each row group."""
    columns = {column: pa.array(images, STRUCT)}
    if labels is not None:
        columns[label] = pa.array(labels)
    table = pa.table(columns)
    if features is not None:
        info = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": info})
    pq.write_table(table, path, row_group_size=group)
    return path


def samples(files: Sequence[Path], labels: Sequence[int], start: int = 0) -> list[Any]:
    """Images and their classes as WebDataset has them."""
    found = []
    for i, (path, label) in enumerate(zip(files, labels, strict=True), start=start):
        found += [(f"{i:05d}.png", path.read_bytes()), (f"{i:05d}.cls", str(label).encode())]
    return found


def test_rows_that_are_not_kept_are_read_again(tmp_path: Path) -> None:
    """In a row group larger than the batches that are kept, an earlier row would be another."""
    n = 200
    data = [f"image {i}".encode() for i in range(n)]
    images = [{"bytes": item, "path": f"{i}.png"} for i, item in enumerate(data)]
    source = open_images(parquet(tmp_path / "a.parquet", images, group=n))
    for index in [*range(n), *range(n - 1, -1, -1), n - 1, 0, n // 2]:
        assert source.sha256(index) == hashlib.sha256(data[index]).hexdigest()


def test_names_of_images(files: list[Path], tmp_path: Path) -> None:
    """Labels files and archives name images: as they were saved, or else by number."""
    named = open_images(parquet(tmp_path / "a.parquet", rows(files[:3])))
    assert list(named.ids) == ["p00.png", "p01.png", "p02.png"]
    repeated = [{**row, "path": "same.png"} for row in rows(files[:12])]
    assert list(open_images(parquet(tmp_path / "b.parquet", repeated)).ids)[:2] == ["00", "01"]
    nameless = [{**row, "path": None} for row in rows(files[:3])]
    assert list(open_images(parquet(tmp_path / "c.parquet", nameless)).ids) == ["0", "1", "2"]
    shard = tar(tmp_path / "d.tar", [("x/y.png", files[0].read_bytes())])
    assert list(open_images(shard).ids) == ["x/y.png"]


def test_labels_of_parquet(files: list[Path], tmp_path: Path) -> None:
    """Class names from the hub's metadata, a declared label column, -1 for withheld labels."""
    features = {"fine": {"_type": "ClassLabel", "names": ["cat", "dog"]}, "x": {"_type": "Value"}}
    source = open_images(
        parquet(tmp_path / "a.parquet", rows(files[:3]), [0, 1, 1], features, label="fine")
    )
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1, 1]
    assert source.classes == {"cat": 0, "dog": 1}
    assert "2 classes" in source.describe()
    secret = open_images(parquet(tmp_path / "b.parquet", rows(files[:2]), [-1, -1]))
    assert secret.labels is None
    words = parquet(tmp_path / "c.parquet", rows(files[:2]), ["dog", "cat"])
    assert open_images(words).labels is None
    known = open_images(words, classes={"cat": 5, "dog": 7})
    assert known.labels is not None
    assert known.labels.tolist() == [7, 5]
    with pytest.raises(ImageError, match=r"the label 'cat'.*not among the class names"):
        open_images(words, classes={"dog": 7})


def test_labels_of_webdataset(files: list[Path], tmp_path: Path) -> None:
    """A number or a name in .cls; a label in .json; none at all."""
    data = files[0].read_bytes()
    mixed = [
        ("a.png", data), ("a.cls", b"4\n"), ("a.json", b'{"label": 9}'),
        ("b.json", b'{"label": 2, "x": [1]}'), ("b.JPEG", data), ("c.png", data), ("c.cls", b"cat"),
    ]  # fmt: skip
    source = open_images(tar(tmp_path / "a.tar", mixed), classes={"cat": 3})
    assert source.labels is not None
    assert source.labels.tolist() == [4, 2, 3]
    assert list(source.ids) == ["a.png", "b.JPEG", "c.png"]
    bare = open_images(tar(tmp_path / "b.tar", [("a.png", data), ("a.txt", b"caption")]))
    assert bare.labels is None
    with pytest.raises(ImageError, match=r"1 of 2 images have no label \(b\.png"):
        open_images(tar(tmp_path / "c.tar", [*mixed[:2], ("b.png", data)]))
    with pytest.raises(ImageError, match="has the label 'cat'"):
        open_images(tar(tmp_path / "d.tar", mixed))


def test_other_columns_and_members_are_left_out(files: list[Path], tmp_path: Path) -> None:
    """Hidden files, links and masks are no images; of two image columns, ``image`` is read."""
    data = files[0].read_bytes()
    path = tar(tmp_path / "a.tar", [("._a.png", b"x"), ("a.png", data), ("a.seg.png", data)])
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert list(open_images(path).ids) == ["a.png"]
    table = pa.table(
        {"mask": pa.array(rows(files[:2]), STRUCT), "image": pa.array(rows(files[2:4]), STRUCT)}
    )
    pq.write_table(table, tmp_path / "b.parquet")
    assert list(open_images(tmp_path / "b.parquet").ids) == ["p02.png", "p03.png"]


def save_other(path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), path)


def save_empty(path: Path) -> None:
    pq.write_table(pa.table({"image": pa.array([], STRUCT)}), path)


def save_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(2000))


def save_nothing(path: Path) -> None:
    """Write no file."""


def save_two_masks(path: Path) -> None:
    column = pa.array([{"bytes": b"x", "path": "a"}], STRUCT)
    pq.write_table(pa.table({"left": column, "right": column}), path)


def save_compressed(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))


def save_twice(path: Path) -> None:
    tar(path, [("a.png", b"x"), ("a.jpg", b"y")])


def save_texts(path: Path) -> None:
    tar(path, [("a.txt", b"x")])


@pytest.mark.parametrize(
    ("save", "name", "says"),
    [
        (save_other, "a.parquet", "has no column of images"),
        (save_two_masks, "a.parquet", "has several columns of images"),
        (save_empty, "a.parquet", "there are no images"),
        (save_noise, "a.parquet", "is not a Parquet file, or is damaged"),
        (save_nothing, "a.parquet", "does not exist"),
        (save_noise, "a.tar", "is not an uncompressed tar file, or is damaged"),
        (save_compressed, "a.tar", "decompress it first"),
        (save_twice, "a.tar", "a.tar holds the sample a twice (a.png, a.jpg)"),
        (save_texts, "a.tar", "there are no images"),
        (save_nothing, "a.tar", "does not exist"),
    ],
)
def test_bad_files(save: Any, name: str, says: str, tmp_path: Path) -> None:
    """One sentence that names the file and the cause."""
    path = tmp_path / name
    save(path)
    with pytest.raises(ImageError) as caught:
        open_images(path)
    assert says in str(caught.value)
    # Twice would be an error that another one quotes.
    assert str(caught.value).count(str(path)) == 1


@pytest.mark.parametrize("cut", [512 * 3, 512 * 3 + 200, 512 * 4 + 100, 5000])
def test_a_shard_that_is_cut_short_is_refused(cut: int, files: list[Path], tmp_path: Path) -> None:
    """After a broken download, half of a data set would be audited without a message."""
    path = tar(tmp_path / "a.tar", [(f"{p.stem}.png", p.read_bytes()) for p in files])
    assert cut < path.stat().st_size
    os.truncate(path, cut)
    with pytest.raises(ImageError, match=r"a\.tar is not an uncompressed tar file, or is damaged"):
        open_images(path)


def test_labels_of_some_files_only(files: list[Path], tmp_path: Path) -> None:
    """Whichever comes first, the one without them is named."""
    parquet(tmp_path / "a.parquet", rows(files[:3]), [0, 1, 2])
    parquet(tmp_path / "b.parquet", rows(files[3:6]))
    with pytest.raises(ImageError, match=r"b\.parquet has no labels 'label'"):
        open_images(tmp_path)
    (tmp_path / "a.parquet").rename(tmp_path / "c.parquet")
    with pytest.raises(ImageError, match=r"c\.parquet has labels, and .*b\.parquet has none"):
        open_images(tmp_path)


def test_labels_that_cannot_be_used_are_reported(files: list[Path], tmp_path: Path) -> None:
    """Labels that are there but cannot be used would look as if there were none."""
    words = open_images(parquet(tmp_path / "a.parquet", rows(files[:2]), ["dog", "cat"]))
    assert "names that need `classes=" in words.describe()
    data = files[0].read_bytes()
    with pytest.raises(ImageError, match=r"the \.json of a\.png is not valid JSON"):
        open_images(tar(tmp_path / "a.tar", [("a.png", data), ("a.json", b"{")]))
    below = tmp_path / "repo" / "data"
    below.mkdir(parents=True)
    parquet(below / "train-00000-of-00001.parquet", rows(files[:2]))
    with pytest.raises(ImageError, match=r"in a subfolder; give .*repo/data"):
        open_images(tmp_path / "repo")


def test_splits_are_not_mixed(files: list[Path], tmp_path: Path) -> None:
    """Training images would count among the test images."""
    for split in ("train", "test"):
        parquet(tmp_path / f"{split}-00000-of-00001.parquet", rows(files[:2]))
    with pytest.raises(ImageError, match="several data sets or splits"):
        open_images(tmp_path)
    (tmp_path / "train-00000-of-00001.parquet").unlink()
    assert len(open_images(tmp_path)) == 2
    tar(tmp_path / "a.tar", samples(files[:1], [0]))
    with pytest.raises(ImageError, match="several data sets or splits"):
        open_images(tmp_path)


def test_an_image_that_cannot_be_read_is_named(files: list[Path], tmp_path: Path) -> None:
    """The others must stay readable."""
    found = rows(files[:4])
    found[1]["bytes"], found[2]["bytes"] = None, b"no image"
    source = open_images(parquet(tmp_path / "a.parquet", found))
    with pytest.raises(ImageError, match=r"a\.parquet: image p01\.png has no bytes"):
        source.read(1, SPEC)
    with pytest.raises(ImageError, match=r"image p02\.png is not a JPEG, PNG, WebP"):
        source.read(2, SPEC)
    source.read(3, SPEC)
    shard = tar(tmp_path / "a.tar", samples(files[:3], [0, 1, 2]))
    opened = open_images(shard)
    os.truncate(shard, 512 + 10)
    with pytest.raises(ImageError, match=r"a\.tar: 00000\.png is cut short"):
        opened.read(0, SPEC)


def test_a_large_row_group_is_streamed(tmp_path: Path) -> None:
    """A file of one row group, larger than what is read of it at a time, must not be held whole."""
    path, size = tmp_path / "a.parquet", 100_000
    rng = np.random.default_rng(0)
    table = pa.table({"image": pa.array([{"bytes": rng.bytes(size)} for _ in range(400)], STRUCT)})
    pq.write_table(table, path, row_group_size=400, write_batch_size=16)
    code = f"""
import pyarrow as pa
from iaside_onnx.images import open_images
source = open_images({str(path)!r})
hashes = [source.sha256(i) for i in range(len(source))]
assert len(set(hashes)) == 400
print(pa.default_memory_pool().max_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400 * size / 3

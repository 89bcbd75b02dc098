"""Nothing of a source is left out in silence: taken, or counted and named."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from iaside_onnx.errors import ImageError
from iaside_onnx.images import ImageSource, Preprocess, open_images
from tests.support.pictures import noise, picture, tar

SPEC = Preprocess((3, 6, 8))
TAKEN = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif", ".jfif",
)  # fmt: skip


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(6, 8, seed)).save(buffer, "PNG")
    return buffer.getvalue()


def labels(source: ImageSource) -> list[int]:
    assert source.labels is not None
    return [int(label) for label in source.labels]


def seeds(source: ImageSource) -> list[int]:
    """Which of the pictures of noise each image of the source is."""
    known = [noise(6, 8, seed) for seed in range(12)]
    found = []
    for i in range(len(source)):
        pixels = np.round(source.read(i, SPEC).pixels * 255).transpose(1, 2, 0)
        found.append(next(seed for seed, image in enumerate(known) if (image == pixels).all()))
    return found


@pytest.mark.parametrize("suffix", TAKEN)
def test_folders_and_tars_take_what_torchvision_takes(tmp_path: Path, suffix: str) -> None:
    """Eight of eleven images would be audited."""
    name = f"a{suffix.upper()}"
    (tmp_path / "photos").mkdir()
    kind = {".jfif": "JPEG", ".pgm": "PPM"}.get(suffix)
    image = Image.fromarray(noise(6, 8))
    (image.convert("L") if suffix == ".pgm" else image).save(tmp_path / "photos" / name, kind)
    folder = open_images(tmp_path / "photos")
    assert list(folder.ids) == [name]
    assert folder.notes == ()
    shard = open_images(
        tar(tmp_path / "a.tar", [(name, (tmp_path / "photos" / name).read_bytes())])
    )
    assert list(shard.ids) == [name]
    assert shard.sha256(0) == folder.sha256(0)
    assert (shard.read(0, SPEC).pixels == folder.read(0, SPEC).pixels).all()


def test_files_of_a_folder_that_are_not_taken(tmp_path: Path) -> None:
    """Beside class folders, inside, and deeper; a count of each kind with the first example."""
    for name in ("cat/1.png", "cat/deep/2.png", "dog/1.png"):
        picture(tmp_path / name)
    for name in ("class_index.json", "cat/b.heic", "cat/a.heic", "dog/x/c.heic", ".DS_Store",
                 "cat/.a.png", "dog/README"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "bird").mkdir()
    source = open_images(tmp_path, classes={"cat": 0, "dog": 1})
    assert len(source) == 3
    assert source.notes == (
        f"left out of folder {tmp_path.name}: 3 .heic (cat/a.heic, ...), "
        "2 hidden (.DS_Store, ...), 1 .json (class_index.json), 1 without suffix (dog/README), "
        "1 without images (bird/)",
    )


def test_a_name_that_is_not_utf8_can_be_said(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    Path(f"{tmp_path}/b\udcff.txt").touch()
    (note,) = open_images(tmp_path).notes
    assert note.endswith("1 .txt (b\\udcff.txt)")
    note.encode()


def test_many_kinds_are_one_line(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for i in range(30):
        (tmp_path / f"a.x{i:02d}").touch()
    (note,) = open_images(tmp_path).notes
    assert note.endswith("1 .x11 (a.x11) and 18 other kinds")


def test_dots_in_the_names_of_members(tmp_path: Path) -> None:
    """WebDataset ends the key at the first dot, so that ``22.05.png`` is no image to it."""
    path = tar(
        tmp_path / "a.tar",
        [
            ("x/22.05.png", png(0)), ("x/22.05.cls", b"4"),
            ("x/22.07.png", png(1)), ("x/22.07.cls", b"5"),
            ("23.png", png(2)), ("23.cls", b"6"),
            ("24.image.png", png(3)), ("24.cls", b"7"),
            ("25.08.png", png(4)), ("25.cls", b"8"),
            ("26.img.png", png(5)), ("26.mask.png", png(6)), ("26.json", b'{"label": 9}'),
        ],
    )  # fmt: skip
    source = open_images(path)
    assert list(source.ids) == [
        "x/22.05.png", "x/22.07.png", "23.png", "24.image.png", "25.08.png", "26.img.png",
    ]  # fmt: skip
    assert labels(source) == [4, 5, 6, 7, 8, 9]
    assert seeds(source) == [0, 1, 2, 3, 4, 5]
    assert source.notes == (
        "left out of WebDataset a.tar: 1 further image of a sample (26.mask.png)",
    )


def test_several_images_with_the_same_key(tmp_path: Path) -> None:
    """Without labels each is an image; one label for two images is nobody's."""
    members = [("22.05.png", png(0)), ("22.07.png", png(1))]
    source = open_images(tar(tmp_path / "a.tar", members))
    assert (list(source.ids), source.labels) == (["22.05.png", "22.07.png"], None)
    with pytest.raises(ImageError, match=r"several images of the sample 22.*name the one .*22\.im"):
        open_images(tar(tmp_path / "b.tar", [*members, ("22.cls", b"1")]))
    with pytest.raises(ImageError, match=r"sample 22 twice \(22\.05\.png, 22\.05\.png\)"):
        open_images(tar(tmp_path / "c.tar", [*members, members[0]]))


def test_tars_that_were_appended(tmp_path: Path) -> None:
    """``cat a.tar b.tar`` leaves an end mark in the middle, where reading used to stop."""
    first = tar(tmp_path / "a.tar", [("a.png", png(0)), ("a.cls", b"1")])
    second = tar(tmp_path / "b.tar", [("b.png", png(1)), ("b.cls", b"2")])
    both = tmp_path / "both.tar"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    source = open_images(both)
    assert (list(source.ids), labels(source)) == (["a.png", "b.png"], [1, 2])
    assert seeds(source) == [0, 1]
    assert source.notes == ()
    both.write_bytes(first.read_bytes() + second.read_bytes()[:900])
    with pytest.raises(ImageError, match="damaged"):
        open_images(both)
    both.write_bytes(first.read_bytes() * 2)
    with pytest.raises(ImageError, match="sample a twice"):
        open_images(both)
    both.write_bytes(first.read_bytes() + b"no header" * 200)
    source = open_images(both)
    assert list(source.ids) == ["a.png"]
    assert "1 block behind the end mark that is no header" in source.notes[0]


def test_members_of_a_tar_that_are_not_taken(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a.tar",
        [("a.png", png(0)), ("a.txt", b"x"), ("b.txt", b"x"), ("._a.png", b"x"), ("c.cls", b"1")],
    )
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("d.png")
        link.type, link.linkname = tarfile.SYMTYPE, "a.png"
        archive.addfile(link)
        folder = tarfile.TarInfo("e")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    assert open_images(path).notes == (
        "left out of WebDataset a.tar: 2 .txt (a.txt, ...), 1 hidden (._a.png), "
        "1 links, devices or sparse files (d.png), 1 labels without an image (c)",
    )
    with pytest.raises(ImageError, match=r"no images.*found 2 \.txt \(a\.txt, \.\.\.\)$"):
        open_images(tar(tmp_path / "b.tar", [("a.txt", b"x"), ("b.txt", b"x")]))


def test_a_member_whose_name_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """The archive could not be written at the end of the run."""
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("a\udcff.png")
        info.size = len(png(0))
        archive.addfile(info, io.BytesIO(png(0)))
    with pytest.raises(ImageError, match="is not UTF-8; rename the member"):
        open_images(tmp_path / "a.tar")


def test_arrays_and_columns_that_are_not_taken(tmp_path: Path) -> None:
    images, others = np.zeros((2, 6, 8), np.uint8), np.zeros(3)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(2), means=others, more=others)
    assert open_images(tmp_path / "a.npz").notes == (
        f"left out of {tmp_path / 'a.npz'}: 2 arrays (means, ...)",
    )
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["deep/means"] = images, others
    assert open_images(tmp_path / "a.h5").notes == (
        f"left out of {tmp_path / 'a.h5'}: 1 array (deep/means)",
    )
    kind = pa.struct([("bytes", pa.binary())])
    column = pa.array([{"bytes": png(0)}], kind)
    pq.write_table(pa.table({"mask": column, "image": column}), tmp_path / "a.parquet")
    assert open_images(tmp_path / "a.parquet").notes == (
        f"left out of {tmp_path / 'a.parquet'}: columns of images: mask",
    )


def test_what_lies_beside_shards(tmp_path: Path) -> None:
    """A hundred photographs beside one shard would be passed over."""
    tar(tmp_path / "a.tar", [("a.png", png(0)), ("a.txt", b"x")])
    picture(tmp_path / "b.png")
    picture(tmp_path / "c.png")
    picture(tmp_path / "cat" / "d.png")
    assert open_images(tmp_path).notes == (
        f"left out of folder {tmp_path.name}: 2 .png (b.png, ...), 1 folders (cat/)",
        f"left out of WebDataset {tmp_path.name}: 1 .txt (a.txt)",
    )

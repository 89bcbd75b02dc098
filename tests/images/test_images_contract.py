"""The contract of `ImageSource`, for each way to store images."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tests.images.source_contract import N, Pictures, SourceContract, png, sha256

LABELS = [i % 3 for i in range(N)]


def encoded(pictures: Pictures, broken: int | None) -> list[bytes]:
    """The bytes of image files, one of which may be damaged."""
    return [b"no image" if i == broken else png(picture) for i, picture in enumerate(pictures)]


class ArrayContract(SourceContract):
    """Images in one array; a broken one has a NaN, which only floats can hold."""

    kind = "arrays"
    ids = tuple(f"{i:02d}" for i in range(N))
    size = (6, 8)
    says = "of 6 x 8 x 3, uint8)"

    def sha256(self, picture: NDArray[np.uint8]) -> str:
        return sha256(b"|u1(6, 8, 3)" + picture.tobytes())

    def name(self, index: int) -> str:
        return f"image {index}:"

    def values(self, pictures: Pictures, broken: int | None) -> NDArray[Any]:
        """The array to store."""
        if broken is None:
            return pictures
        values = pictures / 255
        values[broken, 2, 3, 1] = np.nan
        return values


class TestArray(ArrayContract):
    def store(self, _: Path, pictures: Pictures, broken: int | None = None) -> Any:
        return self.values(pictures, broken), np.array(LABELS, dtype=np.int32)


class TestArrayWithoutLabels(ArrayContract):
    labels = None

    def store(self, _: Path, pictures: Pictures, broken: int | None = None) -> Any:
        return self.values(pictures, broken)


class TestNpy(ArrayContract):
    labels = None

    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        np.save(folder / "a.npy", self.values(pictures, broken))
        return folder / "a.npy"


class TestNpyFortran(ArrayContract):
    labels = None

    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        np.save(folder / "a.npy", np.asfortranarray(self.values(pictures, broken)))
        return folder / "a.npy"


class TestNpz(ArrayContract):
    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        labels = np.array(LABELS, dtype=np.uint8)
        np.savez(folder / "a.npz", labels=labels, images=self.values(pictures, broken))
        return folder / "a.npz"


class TestNpzCompressed(ArrayContract):
    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        values = self.values(pictures, broken)
        np.savez_compressed(folder / "a.npz", images=values, labels=np.array(LABELS))
        return folder / "a.npz"


class TestNpzCompressedFortran(ArrayContract):
    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        values = np.asfortranarray(self.values(pictures, broken))
        np.savez_compressed(folder / "a.npz", images=values, labels=np.array(LABELS))
        return folder / "a.npz"


class TestHdf5(ArrayContract):
    suffix = "h5"

    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        path = folder / f"a.{self.suffix}"
        values = self.values(pictures, broken)
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=values, chunks=(3, 6, 8, 3), compression="gzip")
            file["labels"] = np.array(LABELS, dtype=np.int16)
        return path


class TestHdf5LongSuffix(TestHdf5):
    suffix = "hdf5"


class TestFolder(SourceContract):
    kind = "folder"
    ids = tuple(f"p{i:02d}.png" for i in range(N))
    labels = None
    says = "folder photos"

    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        root = folder / "photos"
        root.mkdir()
        for name, data in zip(self.ids, encoded(pictures, broken), strict=True):
            (root / name).write_bytes(data)
        return root


class TestClassFolders(SourceContract):
    """Folders are in the order of strings, 10 before 9."""

    kind = "class-folder"
    labels = (0,) * 10 + (1,) * 10
    ids = tuple(f"{'10' if i < 10 else '9'}/{i:02d}.png" for i in range(N))
    classes = {"10": 0, "9": 1}  # noqa: RUF012 - as in the base class
    says = "class folder photos"

    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        root = folder / "photos"
        for name, data in zip(self.ids, encoded(pictures, broken), strict=True):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        return root


def write_parquet(path: Path, names: Sequence[str], images: list[bytes], labels: list[int]) -> Path:
    """Write a file as the hub's data sets are, with six rows in each row group."""
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": data, "path": n} for n, data in zip(names, images, strict=True)]
    table = pa.table({"image": pa.array(rows, struct), "label": pa.array(labels)})
    pq.write_table(table, path, row_group_size=6)
    return path


class TestParquet(SourceContract):
    kind = "parquet"
    ids = tuple(f"p{i:02d}.png" for i in range(N))
    says = "3 classes"

    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        return write_parquet(folder / "a.parquet", self.ids, encoded(pictures, broken), LABELS)


class TestParquetShards(TestParquet):
    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        root = folder / "photos"
        root.mkdir()
        images = encoded(pictures, broken)
        for number, part in enumerate((slice(0, 8), slice(8, N))):
            name = f"train-{number:05d}-of-00002.parquet"
            write_parquet(root / name, self.ids[part], images[part], LABELS[part])
        return root


def write_tar(path: Path, names: Sequence[str], images: list[bytes], labels: list[int]) -> Path:
    """Write a WebDataset shard: the label of an image stands beside it in a .cls file."""
    with tarfile.open(path, "w") as archive:
        for name, image, label in zip(names, images, labels, strict=True):
            stem = name.removesuffix(".png")
            for member, data in ((name, image), (f"{stem}.cls", str(label).encode())):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


class TestTar(SourceContract):
    kind = "webdataset"
    ids = tuple(f"{i:05d}.png" for i in range(N))
    says = "3 classes"

    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        return write_tar(folder / "a.tar", self.ids, encoded(pictures, broken), LABELS)


class TestTarShards(SourceContract):
    """Shards may repeat names, so ids begin with the shard; errors give its path."""

    kind = "webdataset"
    ids = tuple(f"{i // 10:03d}.tar/{i % 10}.png" for i in range(N))
    says = "3 classes"

    def name(self, index: int) -> str:
        return f"{index // 10:03d}.tar: {index % 10}.png"

    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        root = folder / "photos"
        root.mkdir()
        images = encoded(pictures, broken)
        names = [f"{i}.png" for i in range(10)]
        for number, part in enumerate((slice(0, 10), slice(10, N))):
            write_tar(root / f"{number:03d}.tar", names, images[part], LABELS[part])
        return root

"""Arrays of images: their types and values, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images import Preprocess, open_images
from tests.support.pictures import noise, picture

SPEC = Preprocess((3, 4, 5))

IMAGES = noise(12 * 4, 5).reshape(12, 4, 5, 3)
LABELS = np.arange(12, dtype=np.int32) % 3


def kept_as(kind: str, folder: Path, images: NDArray[Any], labels: NDArray[Any] | None) -> Any:
    path = folder / f"a.{kind.split('-')[0]}"
    named: dict[str, Any] = (
        {"images": images} if labels is None else {"images": images, "labels": labels}
    )
    if kind == "array":
        return images if labels is None else (images, labels)
    if kind == "npy":
        np.save(path, images)
    elif kind == "npy-fortran":
        np.save(path, np.asfortranarray(images))
    elif kind == "npz":
        np.savez(path, **named)
    elif kind == "npz-packed":
        np.savez_compressed(path, **named)
    elif kind == "npz-packed-fortran":
        named["images"] = np.asfortranarray(images)
        np.savez_compressed(path, **named)
    else:
        with h5py.File(path, "w") as file:
            for name, values in named.items():
                file.create_dataset(name, data=values, compression="gzip" if values.size else None)
    return path


KINDS = ["array", "npy", "npy-fortran", "npz", "npz-packed", "npz-packed-fortran", "h5", "hdf5"]


@pytest.mark.parametrize("kind", KINDS)
def test_grey_arrays_and_floats(tmp_path: Path, kind: str) -> None:
    images = (IMAGES[..., 0] / 255).astype(np.float16)
    sample = open_images(kept_as(kind, tmp_path, images, None)).read(3, SPEC)
    assert (sample.pixels == images[3].astype(np.float32)).all()
    assert sample.sha256 == hashlib.sha256(b"<f2(4, 5)" + images[3].tobytes()).hexdigest()


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_images_stay_on_the_disk(tmp_path: Path, kind: str) -> None:
    """Memory must not grow with the number of images."""
    source: Any = open_images(kept_as(kind, tmp_path, IMAGES, LABELS))
    assert isinstance(source.images, np.memmap)


@pytest.mark.parametrize(
    ("images", "labels", "part"),
    [
        (IMAGES[0, 0], None, r"shape \(5, 3\); \(n, height, width\)"),
        (IMAGES[None], None, "shape"),
        (IMAGES[:0], None, "there are no images"),
        (IMAGES.transpose(0, 3, 1, 2), None, "5 channels; .*transpose to channels last"),
        (np.zeros((2, 8, 8, 9), np.uint8), None, "9 channels; .*reshape"),
        (IMAGES[:, :0], None, "0 x 5 pixels"),
        (IMAGES.astype(np.int64), None, "type int64"),
        (IMAGES > 9, None, "type bool"),
        (IMAGES.astype(np.complex64), None, "type complex64"),
        (IMAGES, LABELS[:5], r"labels have shape \(5,\), but there are 12 images"),
        (IMAGES, LABELS[:, None].repeat(2, axis=1), r"labels have shape \(12, 2\).*one-hot"),
        (IMAGES, LABELS.astype(float), "integers were expected"),
        (IMAGES, LABELS > 0, "integers were expected"),
        (IMAGES, LABELS - 1, "label of image 0 is -1"),
        (IMAGES, np.full(12, 2**63, np.uint64), "label of image 0 is 9223372036854775808"),
    ],
)
@pytest.mark.parametrize("kind", ["array", "npz", "npz-packed", "h5"])
def test_wrong_arrays_are_refused(
    tmp_path: Path, kind: str, images: NDArray[Any], labels: NDArray[Any] | None, part: str
) -> None:
    with pytest.raises(ImageError, match=part):
        open_images(kept_as(kind, tmp_path, images, labels))


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ([0.0, 200.0], "0 to 200, not in .*looks like 0..255: divide by 255"),
        ([0.0, 1.2], "scale it"),
        ([-1.0, 1.0], "looks like -1..1"),
        ([-2.1, 2.6], "already normalised"),
        ([0.0, np.nan], "NaN"),
        ([0.0, np.inf], "not in"),
        ([0.0, 1 + 1e-5], "not in"),
    ],
)
def test_floats_outside_the_range_are_named_when_read(values: list[float], part: str) -> None:
    images = np.zeros((3, 1, 2))
    images[2] = values
    source = open_images(images)
    spec = Preprocess((1, 1, 2))
    assert source.read(1, spec).pixels.max() == 0
    with pytest.raises(ImageError, match=f"image 2: .*{part}"):
        source.read(2, spec)


def test_rounding_beyond_the_range_is_clipped() -> None:
    images = np.array([[[-1e-7, 1 + 1e-7]]])
    pixels = open_images(images).read(0, Preprocess((1, 1, 2))).pixels
    assert pixels.ravel().tolist() == [0.0, 1.0]


class Trap:
    """Fails the test when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("the pickle was loaded",))


@pytest.mark.parametrize("kind", ["npy", "npz", "npz-packed"])
def test_pickled_objects_are_never_loaded(tmp_path: Path, kind: str) -> None:
    images = np.full((2, 3, 3), Trap(), dtype=object)
    with pytest.raises(ImageError, match=r"^\S+a\.np[yz]: .* holds Python objects"):
        open_images(kept_as(kind, tmp_path, images, None))


@pytest.mark.parametrize("suffix", ["npy", "npz", "h5"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
def test_a_truncated_file_is_one_sentence(tmp_path: Path, suffix: str, share: float) -> None:
    path = kept_as(suffix, tmp_path, IMAGES, None)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ImageError, match=f"a.{suffix}") as caught:
        open_images(path).read(11, SPEC)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["npy", "npz", "h5"])
def test_random_bytes_are_one_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(noise(20, 30).tobytes())
    with pytest.raises(ImageError, match="cannot be read"):
        open_images(path)


def test_a_header_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    """A small file of compressed zeros must not allocate memory for all of them."""
    import zipfile

    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999, 999, 999), }\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    for method, part in ((zipfile.ZIP_DEFLATED, "over the limit"), (zipfile.ZIP_STORED, "cannot")):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
            archive.writestr("images.npy", data)
        with pytest.raises(ImageError, match=part):
            open_images(tmp_path / "a.npz")


def test_newer_versions_of_the_npy_format(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for version in ((2, 0), (3, 0)):
        with path.open("wb") as file:
            np.lib.format.write_array(file, IMAGES, version)
        if version == (2, 0):
            assert (
                open_images(path).read(1, SPEC).pixels * 255 == IMAGES[1].transpose(2, 0, 1)
            ).all()
        else:
            with pytest.raises(ImageError, match="version"):
                open_images(path)


def test_a_damaged_chunk_affects_only_its_images(tmp_path: Path) -> None:
    """HDF5 detects it on reading; the images of other chunks must stay readable."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", data=IMAGES, chunks=(6, 4, 5, 3), fletcher32=True)
        place = images.id.get_chunk_info(1).byte_offset
    data = bytearray(path.read_bytes())
    data[place + 5] ^= 255
    path.write_bytes(data)
    source = open_images(path)
    assert (source.read(5, SPEC).pixels * 255 == IMAGES[5].transpose(2, 0, 1)).all()
    with pytest.raises(ImageError, match=r"a\.h5: image 6 cannot be read"):
        source.read(6, SPEC)


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_a_missing_array_names_those_that_are_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "npz":
        np.savez(path, first=IMAGES, second=LABELS)
    else:
        with h5py.File(path, "w") as file:
            file["first"], file["second"] = IMAGES, LABELS
    with pytest.raises(
        ImageError, match=r"^\S+ has no array named images \(it has first, second\)"
    ):
        open_images(path)


@pytest.mark.parametrize("how", ["link", "soft", "storage", "virtual", "group"])
def test_hdf5_may_not_lead_to_other_files(tmp_path: Path, how: str) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["images"] = IMAGES
    (tmp_path / "raw").write_bytes(IMAGES.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if how == "link":
            file["images"] = h5py.ExternalLink("secret.h5", "images")
        elif how == "soft":
            file["away"] = h5py.ExternalLink("secret.h5", "/")
            file["images"] = h5py.SoftLink("/away/images")
        elif how == "storage":
            storage = [(str(tmp_path / "raw"), 0, IMAGES.nbytes)]
            file.create_dataset("images", IMAGES.shape, IMAGES.dtype, external=storage)
        elif how == "virtual":
            layout = h5py.VirtualLayout(IMAGES.shape, IMAGES.dtype)
            layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "images", IMAGES.shape)
            file.create_virtual_dataset("images", layout)
        else:
            file.create_group("images")
    with pytest.raises(
        ImageError,
        match=r"^\S+a\.h5: images is not a dataset"
        if how == "group"
        else r"^\S+a\.h5: images is stored in another file",
    ):
        open_images(tmp_path / "a.h5")


def test_hdf5_with_giant_chunks_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (2**14, 2**9, 2**9), "u1", chunks=(2**13, 2**9, 2**9))
    with pytest.raises(ImageError, match="chunks of 2147483648 bytes"):
        open_images(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("source", "labels", "part"),
    [
        ([1, 2], None, "type list"),
        ((IMAGES,), None, "must be \\(images, labels\\)"),
        ((IMAGES, LABELS), LABELS, "no further labels"),
        ((IMAGES, LABELS.tolist()), None, "NumPy arrays"),
    ],
)
def test_other_things_are_no_source(source: Any, labels: Any, part: str) -> None:
    with pytest.raises(ImageError, match=part):
        open_images(source, labels=labels)


def test_labels_of_an_array_do_not_go_with_files(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(ImageError, match="needs an array of images"):
        open_images(tmp_path, labels=LABELS)

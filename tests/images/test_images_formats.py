"""Formats beside JPEG, PNG and WebP; what decoding says of single images."""

from __future__ import annotations

import io
import logging
import struct
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from iaside_onnx.errors import ImageError
from iaside_onnx.images import Notices, decode_image
from tests.support.pictures import noise

PIXELS = noise(6, 8)
RGB = Image.fromarray(PIXELS)
GREY16 = np.random.default_rng(1).integers(0, 65536, (6, 8), dtype=np.uint16)
# An EXIF block that promises five entries and holds one.
CUT_EXIF = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\x01\0\0\0\x06\0"


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(
    data: bytes, channels: int = 3, where: str = "photo", notices: Notices | None = None
) -> NDArray[np.uint8]:
    return np.asarray(decode_image(data, channels, where, notices or Notices()))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
    ],
)
def test_formats_without_loss(kind: str, options: dict[str, Any]) -> None:
    """Every pixel would be another, or the image would be left out."""
    assert (decoded(encode(RGB, kind, **options)) == PIXELS).all()


def tiled(side: int) -> bytes:
    """A grey TIFF of 8 x 8 white pixels, stored as one deflated tile (TIFF 6.0, sections 2, 15)."""
    data = zlib.compress(b"\xff" * side**2)
    tags = [(256, 8), (257, 8), (258, 8), (259, 8), (262, 1), (277, 1)]
    tags += [(322, side), (323, side), (324, 8 + 2 + 12 * 10 + 4), (325, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + data


def test_a_tile_that_would_fill_the_memory() -> None:
    """One MB of a stranger would take one GB for an image of 8 x 8 pixels."""
    assert (decoded(tiled(256)) == 255).all()
    with pytest.raises(ImageError, match=r"^photo has tiles of 4112 x 4112 pixels"):
        decoded(tiled(4112))


def test_gif_of_few_colours() -> None:
    few = (PIXELS // 128 * 255).astype(np.uint8)
    assert (decoded(encode(Image.fromarray(few), "GIF")) == few).all()


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_is_turned_once(orientation: int, compression: str | None) -> None:
    """Pillow turns TIFF by itself: a second time would undo it or turn it too far."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(io.BytesIO(encode(RGB, "PNG", exif=exif))) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    found = decoded(encode(RGB, "TIFF", exif=exif, compression=compression))
    assert found.shape == expected.shape
    assert (found == expected).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled(kind: str) -> None:
    """Pillow's conversion to 8 bits clips, so nearly all pixels would be white."""
    image = Image.fromarray(GREY16)
    data = encode(image.convert("I") if kind == "PPM" else image, kind)
    assert (decoded(data, 1) == np.round(GREY16 / 257)).all()


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(GREY16.astype(np.int32) * 1000),
        Image.fromarray(GREY16.astype(np.float32)),
        RGB.convert("LAB"),
    ],
    ids=lambda image: str(image.mode),
)
def test_pixels_of_unknown_range_are_refused(image: Image.Image) -> None:
    """Nobody knows which number is white."""
    with pytest.raises(ImageError, match=rf"^photo has pixels .*mode {image.mode}\); save it"):
        decoded(encode(image, "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_further_frames_are_said(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """All but the first frame would be left out in silence."""
    data = encode(RGB, kind, save_all=True, append_images=[Image.new("RGB", RGB.size)])
    decoded(data, where=f"frames-{kind}")
    assert caplog.messages == [
        f"frames-{kind}: the file has several frames, of which the first is taken"
    ]


def long_text(kind: str) -> bytes:
    """A PNG whose texts are many MB and a few kB of the file, with an orientation in EXIF."""
    info = PngImagePlugin.PngInfo()
    exif = Image.Exif()
    exif[0x0112] = 6
    options: dict[str, Any] = {"exif": exif}
    if kind == "profile":
        options["icc_profile"] = bytes(3 << 20)
    elif kind == "itxt":
        info.add_itxt("prompt", "x" * (3 << 20), zip=True)
    elif kind == "many":
        # Each is short enough for Pillow, but not all together.
        for i in range(140):
            info.add_text(f"t{i}", "x" * (1 << 19), zip=True)
    else:
        info.add_text("prompt", "x" * (3 << 20), zip=True)
    return encode(RGB, "PNG", pnginfo=info, **options)


@pytest.mark.parametrize("kind", ["ztxt", "itxt", "profile", "many"])
def test_png_with_long_texts(kind: str) -> None:
    """Pillow refuses such files, which image generators write; the orientation must stay."""
    assert (decoded(long_text(kind)) == np.rot90(PIXELS, -1)).all()


def test_a_png_with_a_long_text_that_is_cut_short_is_refused() -> None:
    """Taking texts out must not hide damage."""
    data = long_text("ztxt")
    with pytest.raises(ImageError, match=r"^photo is damaged or cut short"):
        decoded(data[:-60])


def test_warnings_of_pillow_name_the_file_once(caplog: pytest.LogCaptureFixture) -> None:
    """A warning without a name says nothing of which of a million files it is about."""
    data = encode(RGB, "JPEG", exif=CUT_EXIF)
    notices = Notices()
    for _ in range(2):
        decoded(data, 3, "cut-\x1b[31m.jpg", notices)
    (line,) = caplog.messages
    assert line.startswith("cut-\\x1b[31m.jpg: Pillow warns: Corrupt EXIF data")
    assert caplog.records[0].levelno == logging.WARNING


def test_warnings_of_threads_go_to_their_files(caplog: pytest.LogCaptureFixture) -> None:
    """Python's own way to catch warnings mixes up threads, and leaves its filters behind."""
    good, bad = encode(RGB, "JPEG"), encode(RGB, "JPEG", exif=CUT_EXIF)
    start, notices = threading.Barrier(4), Notices()

    def read(number: int) -> None:
        start.wait()
        for i in range(30):
            decoded(bad if i == 5 * number else good, 3, f"thread {number} image {i}", notices)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(read, range(4)))
    finally:
        sys.setswitchinterval(before)
    named = sorted(message.partition(":")[0] for message in caplog.messages)
    assert named == [f"thread {k} image {5 * k}" for k in range(4)]


def test_many_warnings_end(caplog: pytest.LogCaptureFixture) -> None:
    """A folder of a million such photographs would bury everything else."""
    notices = Notices(most=3)
    data = encode(RGB, "JPEG", exif=CUT_EXIF)
    for i in range(6):
        decode_image(data, 3, f"image {i}", notices)
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "image 0", "image 1", "image 2", "further images have such warnings, which are not shown"
    ]  # fmt: skip


def test_warnings_of_others_are_left_alone() -> None:
    """A program that uses the package would lose its own warnings."""
    decoded(encode(RGB, "JPEG"))
    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", UserWarning, stacklevel=1)
    decoded(encode(RGB, "JPEG"))
    with pytest.raises(UserWarning, match="mine"):
        # Warnings are errors in these tests, also behind a decoded image.
        warnings.warn("mine", UserWarning, stacklevel=1)

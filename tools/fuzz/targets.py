"""The targets: valid files, strategies that damage them, and the commands that read them."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import numpy_helper, parser
from PIL import Image

from tools.fuzz.mutations import damaged_archive, damaged_bytes, damaged_graph, damaged_json
from tools.shared.paths import FASHION_IMAGES, MODELS, TEST_DATA, bundled_model

OURS: dict[str, Any] = {
    "input_size": [3, 16, 16], "resize_size": 20, "interpolation": "bicubic", "crop_pct": 0.9,
    "crop_mode": "center", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.3], "color_order": "bgr",
    "value_range": [0.0, 255.0],
}  # fmt: skip
TIMM: dict[str, Any] = {
    "architecture": "resnet50",
    "pretrained_cfg": {
        "input_size": [3, 16, 16], "interpolation": "bicubic", "crop_pct": 0.95,
        "crop_mode": "center", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    },
}  # fmt: skip
HUB: dict[str, Any] = {
    "image_processor_type": "CLIPImageProcessor", "do_resize": True, "do_center_crop": True,
    "do_rescale": True, "do_normalize": True, "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}, "resample": 3,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One kind of input file.

    Attributes:
        strategy: makes the suffix and the bytes of a damaged file.
        commands: for the name of a file, the command lines that read it, run one after the other.
        prepare: writes the other files that the commands need into a folder.
    """

    strategy: st.SearchStrategy[tuple[str, bytes]]
    commands: Callable[[str], Sequence[Sequence[str]]]
    prepare: Callable[[Path], object]


def _pixels(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _any_size(folder: Path) -> None:
    """Write a model that takes images of any size with three channels."""
    text = (
        '<ir_version: 8, opset_import: ["": 17]> g (float[N,3,H,W] image) => (float[N,5] scores) '
        "{pool = GlobalAveragePool(image) flat = Flatten(pool) scores = MatMul(flat, weights)}"
    )
    model = parser.parse_model(text)
    weights = np.random.default_rng(0).standard_normal((3, 5), dtype=np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "weights"))
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def _photos(folder: Path) -> None:
    """Write two images of different size, one of them grey, and the model."""
    _any_size(folder)
    photos = folder / "photos"
    photos.mkdir()
    Image.fromarray(_pixels(24, 31, 3)).save(photos / "a.png")
    Image.fromarray(_pixels(40, 17)).save(photos / "b.jpg")


def _small_images(folder: Path) -> None:
    np.savez(folder / "images.npz", images=_pixels(2, 28, 28), labels=np.arange(2))


@cache
def _bundled(name: str) -> bytes:
    """The bytes of a bundled model."""
    model = onnx.load_model(MODELS / name)
    return bytes(model.SerializeToString())


@cache
def _archives() -> list[bytes]:
    return [path.read_bytes() for path in sorted(TEST_DATA.glob("schema-*.h5"))]


def _arrays() -> list[tuple[str, bytes]]:
    images, labels = _pixels(3, 8, 8, 3), np.arange(3)
    files = []
    for name, save in (("a.npz", np.savez), ("b.npz", np.savez_compressed)):
        buffer = io.BytesIO()
        save(buffer, images=images, labels=labels)
        files.append((Path(name).suffix, buffer.getvalue()))
    for array in (images, images / np.float32(255), np.array([{"a": 1}], dtype=object)):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        files.append((".npy", buffer.getvalue()))
    for chunks in (None, (1, 8, 8, 3)):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.create_dataset("images", data=images, chunks=chunks)
            file["labels"] = labels
        files.append((".h5", buffer.getvalue()))
    return files


_MODES = (
    ("RGB", "JPEG"), ("CMYK", "JPEG"), ("L", "JPEG"), ("RGB", "PNG"), ("P", "PNG"),
    ("I;16", "PNG"), ("LA", "PNG"), ("RGB", "WEBP"), ("RGBA", "WEBP"), ("RGB", "BMP"), ("P", "BMP"),
    ("P", "GIF"), ("RGB", "PPM"), ("RGB", "TIFF"), ("I;16", "TIFF"), ("CMYK", "TIFF"),
)  # fmt: skip


@cache
def _pictures() -> list[tuple[str, bytes]]:
    colour, made = Image.fromarray(_pixels(9, 11, 3)), []
    for mode, form in _MODES:
        buffer = io.BytesIO()
        if mode == "I;16":
            Image.fromarray(_pixels(9, 11).astype(np.uint16)).save(buffer, form)
        else:
            colour.convert(mode).save(buffer, form)
        made.append(("." + form.lower(), buffer.getvalue()))
    frames = [colour, colour.rotate(90).resize(colour.size)]
    for form in ("PNG", "WEBP", "GIF", "TIFF"):
        buffer = io.BytesIO()
        frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
        made.append(("." + form.lower(), buffer.getvalue()))
    return made


def _npy(shape: Any, dtype: str, order: Any, data: bytes) -> bytes:
    """A .npy file with an arbitrary header."""
    header = repr({"descr": dtype, "fortran_order": order, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + data


_HEADERS = st.builds(
    _npy,
    st.one_of(st.lists(st.integers(-1, 2**64), max_size=5).map(tuple), st.just("x")),
    st.sampled_from(["|u1", "<f4", "<f2", ">f8", "|O", "<U99999999", "|V8", "<c16", "x"]),
    st.one_of(st.booleans(), st.just(7)),
    st.binary(max_size=64),
).map(lambda data: (".npy", data))


def _damaged(seeds: Sequence[tuple[str, bytes]]) -> st.SearchStrategy[tuple[str, bytes]]:
    return st.sampled_from(seeds).flatmap(
        lambda seed: damaged_bytes(seed[1]).map(lambda data: (seed[0], data))
    )


def _named(
    ending: str, *strategies: st.SearchStrategy[bytes]
) -> st.SearchStrategy[tuple[str, bytes]]:
    return st.one_of(*strategies).map(lambda data: (ending, data))


def _decompose(*words: str) -> list[str]:
    return ["decompose", *words, "-o", "out.h5", "--bands", "3", "--batch-size", "4"]


def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="iaside-fuzz-")) / "edited.h5"


def _models() -> st.SearchStrategy[bytes]:
    names = sorted(path.name for path in MODELS.glob("*.onnx"))
    seeds = st.sampled_from(names).map(_bundled)
    return st.one_of(seeds.flatmap(damaged_graph), seeds.flatmap(damaged_graph),
                     seeds.flatmap(damaged_bytes))  # fmt: skip


def targets() -> dict[str, Target]:
    """All targets by name."""
    texts = [json.dumps(seed).encode() for seed in (OURS, TIMM, HUB)]
    scratch = _scratch()
    archives = st.sampled_from(_archives())
    return {
        "specs": Target(
            _named(".json", damaged_json([OURS, TIMM, HUB]),
                   st.sampled_from(texts).flatmap(damaged_bytes)),
            lambda name: [
                _decompose("model.onnx", "--images", "photos", "--labels", "predicted",
                           "--preprocess", name)
            ],
            _photos,
        ),
        "models": Target(
            _named(".onnx", _models()),
            lambda name: [_decompose(name, "--images", "images.npz"), ["inspect", name]],
            _small_images,
        ),
        "arrays": Target(
            st.one_of(_HEADERS, _damaged(_arrays())),
            lambda name: [
                _decompose("model.onnx", "--images", name, "--labels", "predicted"),
            ],
            _any_size,
        ),
        "images": Target(
            _damaged(_pictures()),
            lambda _: [
                _decompose("model.onnx", "--images", ".", "--labels", "predicted",
                           "--input-size", "3,16,16")
            ],
            _any_size,
        ),
        "archives": Target(
            _named(".h5", archives.flatmap(damaged_bytes),
                   archives.flatmap(lambda data: damaged_archive(data, scratch))),
            lambda name: [
                ["show", name], ["show", name, "--json"], ["report", name, "-o", "out.html"],
                ["convert", name, "-o", "out.json"],
                ["convert", name, "-o", "out.csv", "--table", "worth"], ["CHECK", name],
                ["convert", name, "-o", "out.nc"], ["convert", name, "-o", "out.parquet"],
                ["extend", name, "--budget", "40", "--model", str(bundled_model("fashion-cnn")),
                 "--images", str(FASHION_IMAGES)],
            ],
            lambda _: None,
        ),
    }  # fmt: skip

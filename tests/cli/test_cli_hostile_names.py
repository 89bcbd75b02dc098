"""Names and files from strangers never reach the terminal as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.support.command import Outcome, in_process

ESCAPE = "\x1b]0;owned\x07\x1b[31m"
FORGED = "\nError: forged\r"
BIDI = "\u202etxt"
NOT_UTF8 = os.fsdecode(b"\xff\xfe")
CLASSES = [f"a{ESCAPE}", f"b{FORGED}", f"c{BIDI}"]
WORDS = ("--images", "photos", "--bands", "3", "--input-size", "1,8,8", "--classes", "in-order")


def clean(outcome: Outcome) -> Outcome:
    """Assert that nothing but printable characters and line ends was printed."""
    for text in (outcome.out, outcome.err):
        assert all(c.isprintable() or c == "\n" for c in text), repr(text)
        assert "\nError: forged" not in text
    return outcome


@pytest.fixture
def photos(folder: Path) -> Path:
    """Class folders and images with hostile names, of which one is no image."""
    for seed, name in enumerate(CLASSES):
        place = folder / "photos" / name
        place.mkdir(parents=True)
        for i in range(2):
            noise = np.random.default_rng([seed, i]).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(noise).save(place / f"{i}{ESCAPE}{FORGED}.png")
    (folder / "photos" / CLASSES[1] / f"x{ESCAPE}{FORGED}{BIDI}.jpg").write_bytes(b"no image")
    return folder


@pytest.mark.usefixtures("photos")
def test_names_of_images_and_classes() -> None:
    """A file name sets the title of the terminal, hides text, or forges a line of ours."""
    failed = in_process("decompose", "model.onnx", *WORDS, "-o", "out.h5")
    clean(failed).fails("1 of 7 images failed", "\\x1b]0;owned\\x07", "\\nError: forged\\r")
    run = in_process("decompose", "model.onnx", *WORDS, "-o", "out.h5", "--on-bad-image", "skip")
    clean(run).succeeds()
    clean(in_process("show", "out.h5")).succeeds()
    clean(in_process("show", "out.h5", "--json")).succeeds()
    by_class = clean(in_process("show", "out.h5", "--by", "class"))
    by_class.succeeds()
    assert "\\x1b]0;owned" in by_class.out
    with h5py.File("out.h5") as file:
        # The archive holds the true names; only the terminal gets them escaped.
        assert [name.decode() for name in file["class_folder"][()]] == CLASSES
        (failed_id,) = file["failed_id"][()].tolist()
        assert failed_id.decode().endswith(f"x{ESCAPE}{FORGED}{BIDI}.jpg")


@pytest.mark.parametrize("name", [ESCAPE, FORGED, BIDI, NOT_UTF8], ids=ascii)
def test_names_of_files(name: str, photos: Path) -> None:
    """A model or an archive that was sent to us, or one whose name is not UTF-8."""
    model, output = f"m{name}.onnx", f"o{name}.h5"
    Path("model.onnx").rename(model)
    if name == NOT_UTF8:
        clean(in_process("inspect", model)).fails("its path is not UTF-8")
        model = str(Path(model).rename("model.onnx"))
    words = ("decompose", model, "--images", "images.npz", "--bands", "3", "-o", output)
    clean(in_process(*words)).succeeds()
    clean(in_process(*words)).succeeds()
    clean(in_process(*words, "--seed", "1")).fails("seed (0 there, 1 now)")
    for command in ("show", "inspect"):
        path = output if command == "show" else model
        clean(in_process(command, path)).succeeds()
        found = clean(in_process(command, path, "--json"))
        found.succeeds()
        assert str(photos / path).endswith(json.loads(found.out)[
            "archive" if command == "show" else "model"])  # fmt: skip
        clean(in_process(command, f"none{name}")).fails("does not exist")


@pytest.mark.usefixtures("folder")
def test_attributes_of_an_archive() -> None:
    """Every text that `show` prints may have been written by a stranger."""
    words = ("decompose", "model.onnx", "--images", "images.npz", "--bands", "3", "-o", "out.h5")
    in_process(*words).succeeds()
    with h5py.File("out.h5", "r+") as file:
        for name, value in file.attrs.items():
            if isinstance(value, bytes) and not value.startswith((b"{", b"[")):
                file.attrs[name] = np.bytes_(f"{ESCAPE}{FORGED}{BIDI}".encode())
        options = json.loads(file.attrs["options"])
        resolved = options["resolved"]
        for key in ("tool_version", "model_sha256", "output", "images", "provider", "device"):
            assert isinstance(resolved[key], str)
            resolved[key] = f"{ESCAPE}{FORGED}{BIDI}"
        file.attrs["options"] = json.dumps(options)
    shown = clean(in_process("show", "out.h5"))
    shown.succeeds()
    assert "\\x1b]0;owned" in shown.out
    clean(in_process("show", "out.h5", "--json")).succeeds()
    with h5py.File("out.h5", "r+") as file:
        resolved["baseline"] = f"{ESCAPE}{FORGED}{BIDI}"
        file.attrs["options"] = json.dumps(options)
    clean(in_process("show", "out.h5")).fails("does not say how the run was made", "owned")

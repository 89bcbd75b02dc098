"""``iaside report``: a page from the command line, with and without pixels."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support.command import MODELS, in_process
from tests.support.pages import read_page

WORDS = ("decompose", "model.onnx", "--images", "images.npz", "--bands", "3", "-o", "out.h5")


@pytest.fixture
def archive(folder: Path) -> Path:
    """A small archive in the working directory."""
    in_process(*WORDS).succeeds()
    return folder / "out.h5"


@pytest.mark.usefixtures("archive")
def test_pixels_are_on_the_page_only_if_asked_for() -> None:
    """A page that is sent to others would hold patients or people."""
    done = in_process("report", "out.h5", "-o", "out.html")
    done.succeeds()
    assert done.out == "out.html\n"
    assert read_page(Path("out.html")).all("img") == []
    in_process("report", "out.h5", "-o", "out.html", "--images", "images.npz").succeeds()
    # The image, three bands, and three sums of bands.
    assert len(read_page(Path("out.html")).all("img")) == 7


@pytest.mark.usefixtures("archive")
def test_a_changed_archive_is_a_warning() -> None:
    """What was edited would be passed on as measured."""
    with h5py.File("out.h5", "r+") as file:
        file["sis"][()] = 0.99
    done = in_process("report", "out.h5", "-o", "out.html")
    done.succeeds()
    assert "Warning: out.h5: cannot be trusted" in done.err
    assert "Not as it was written" in read_page(Path("out.html")).text


@pytest.mark.usefixtures("archive")
def test_what_cannot_be_a_page_is_one_sentence() -> None:
    """A traceback, or a page of the wrong images."""
    in_process("report", "none.h5", "-o", "out.html").fails("none.h5")
    in_process("report", "out.h5", "-o", "out.h5").fails("end its name in .html", code=2)
    np.savez("others.npz", images=np.full((3, 8, 8), 7, np.uint8), labels=np.zeros(3, np.int64))
    in_process("report", "out.h5", "-o", "out.html", "--images", "others.npz").fails(
        "holds no image of out.h5", "SHA-256"
    )
    assert not Path("out.html").exists()
    in_process(*WORDS[:-4], "--bands", "2", "-o", "two.h5").succeeds()
    in_process("report", "out.h5", "two.h5", "-o", "out.html").fails(
        "differ in bands (3 and 2)", code=2
    )


def test_the_demo_shows_the_bands_of_a_bundled_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page that a new user sees would be another than that of `iaside report`."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(MODELS / "fashion-mnist-1000.npz", "images.npz")
    in_process("demo", "-o", "demo.h5").succeeds()
    demo = Path("demo.html").read_bytes()
    names = ("--classes", MODELS / "class_names.json")
    in_process("report", "demo.h5", "-o", "again.html", "--images", "images.npz", *names).succeeds()
    assert Path("again.html").read_bytes() == demo
    assert len(read_page(Path("demo.html")).all("img")) == 17

"""Memory that truly runs out, in a process that may not have more of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from onnx import helper

from iaside_onnx import open_archive
from tests.support.bad_case import pixels
from tests.support.onnx_models import make_model, value

SIDE, FILTERS = 48, 256
ACTIVATIONS = 4 * FILTERS * SIDE**2
"""Bytes that one image needs after its convolution: 2.25 MiB."""

# The first run loads all that is loaded once, and is what the second is compared with.
_BOUNDED = """
import logging, resource, sys
from pathlib import Path
import numpy as np
import iaside_onnx
from iaside_onnx.runs import LogProgress

room, batch_size = int(sys.argv[1]), sys.argv[2]
logging.basicConfig(format="%(levelname)s %(message)s")

def taken():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

def bound():
    most = taken() + room
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    return most

class BoundedRun(LogProgress):
    def begin(self, *args):
        super().begin(*args)
        bound()

class BoundedSearch(LogProgress):
    # What is said last before the search, and first after it.
    def say(self, line):
        super().say(line)
        if line.startswith("runtime: "):
            self.most = bound()
        elif line.startswith("batch size: "):
            print(self.most - taken())

def run(output, batch_size, progress):
    images = np.load("images.npy")
    labels = np.arange(len(images)) % 5
    iaside_onnx.decompose("model.onnx", images, output, bands=6, labels=labels, threads=1,
                          batch_size=batch_size, progress=progress)

run("free.h5", 8, LogProgress())
if batch_size == "auto":
    run("bounded.h5", "auto", BoundedSearch())
else:
    run("bounded.h5", int(batch_size), BoundedRun())
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are of Linux")


def save_greedy(folder: Path) -> None:
    """Write a model that needs far more memory than its images, and four of them."""
    rng = np.random.default_rng(0)
    weights = {
        "filters": rng.standard_normal((FILTERS, 1, 3, 3)).astype(np.float32),
        "matrix": rng.standard_normal((FILTERS, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "filters"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalMaxPool", ["conv"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["out"]),
    ]
    inputs, outputs = [value("image", ["n", 1, SIDE, SIDE])], [value("out", ["n", 5])]
    onnx.save(make_model(nodes, inputs, outputs, weights), folder / "model.onnx")
    np.save(folder / "images.npy", pixels(4, SIDE, SIDE))


def bounded(folder: Path, room: int, batch_size: str) -> tuple[list[str], str]:
    """Warnings and stdout of a run that may have so many bytes more, after one that has all."""
    save_greedy(folder)
    words = [sys.executable, "-c", _BOUNDED, str(room), batch_size]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if "memory ran out" in line], done.stdout


def assert_close(folder: Path) -> None:
    """The numbers are those of the run that had all the memory."""
    with h5py.File(folder / "free.h5") as free, h5py.File(folder / "bounded.h5") as tight:
        for name in ("worth", "log_probability_whole", "phi"):
            np.testing.assert_allclose(tight[name][()], free[name][()], atol=1e-5, rtol=0)
        np.testing.assert_array_equal(tight["predicted"][()], free["predicted"][()])


def test_a_batch_that_does_not_fit_is_halved_and_the_run_goes_on(tmp_path: Path) -> None:
    """The run ends after hours, or its archive does not say that batches were smaller."""
    said, _ = bounded(tmp_path, 96 * ACTIVATIONS, "256")
    sizes = [128, 64, 32, 16, 8, 4, 2, 1]
    warned = [f"WARNING memory ran out: batches are halved to {size} images" for size in sizes]
    assert said
    assert said == warned[: len(said)]
    smallest = sizes[len(said) - 1]
    notes = open_archive(tmp_path / "bounded.h5").metadata.notes
    assert notes[-1] == f"memory ran out: batches were halved, from 256 images down to {smallest}"
    assert_close(tmp_path)


def test_a_search_that_meets_the_end_of_memory_leaves_enough_for_the_run(tmp_path: Path) -> None:
    """A user who asks for the fastest size gets an error where any size would have run."""
    said, left = bounded(tmp_path, 96 * ACTIVATIONS, "auto")
    assert said == []
    metadata = open_archive(tmp_path / "bounded.h5").metadata
    chosen = metadata.options["resolved"]["batch_size"]
    assert 1 <= chosen < 96
    # Which size is fastest, noise may decide; all but the largest that fits need less than half of
    # what there was, and what the larger ones took has been given back.
    if chosen <= 32:
        assert int(left) > 48 * ACTIVATIONS
    assert not [note for note in metadata.notes if "memory ran out" in note]
    assert_close(tmp_path)

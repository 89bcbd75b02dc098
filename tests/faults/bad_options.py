"""Options that cannot work, outputs that cannot be written, archives that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from tests.support.bad_case import Case, graph, save_images, save_model
from tests.support.command import in_process

__all__ = ["CASES", "CUDA_ABSENT"]

_POOLED = "mean = GlobalAveragePool(image) flat = Flatten(mean) scores = Concat<axis=1>(flat, flat)"


def _larger(folder: Path) -> None:
    """A model and images of 28 x 28 pixels."""
    save_model(folder, graph(_POOLED, "float[N,1,28,28] image", "float[N,2] scores"))
    save_images(folder, images=np.zeros((6, 28, 28), np.uint8), labels=np.arange(6) % 2)


def _open_size(folder: Path) -> None:
    """A model that takes any size, and pictures in two class folders."""
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "photos" / name / "a.png")
    save_model(folder, graph(_POOLED, "float[N,1,H,W] image", "float[N,2] scores"))


def _text(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def _archive(folder: Path) -> Path:
    """A good archive, ``seen.h5``."""
    case = Case("good", "", output=str(folder / "seen.h5"))
    in_process(*case.words).succeeds()
    return folder / "seen.h5"


def _cut_short(folder: Path) -> None:
    path = _archive(folder)
    path.write_bytes(path.read_bytes()[:5000])


def _newer(folder: Path) -> None:
    with h5py.File(_archive(folder), "r+") as file:
        file.attrs["schema_version"] = 2


def _plain_hdf5(folder: Path) -> None:
    with h5py.File(folder / "seen.h5", "w") as file:
        file["phi"] = np.zeros(3)


_BANDS = [
    *(
        Case(
            f"{bands} bands",
            f"bands must be a whole number from 2 to 64, not {bands}",
            options=f"--bands {bands}",
            code=2,
        )
        for bands in (0, 1, 65, -3)
    ),
    Case(
        "every coalition of 17 bands",
        "from 2 to 16 with the method exact, found 17",
        options="--bands 17 --method exact",
        code=2,
    ),
]

_LIMITS = [
    Case("a budget of less than a block", "a budget of 14 evaluations is less than one block: 3 "
         "images at 5 evaluations each are 15", options="--method sampled --budget 14", code=2),
    Case("a budget of nothing", "budget must be a whole number from 1", options="--budget 0",
         code=2),
    Case("a budget for every coalition", "without a budget or a target",
         options="--method exact --budget 100", code=2),
    Case("a target for every coalition", "without a budget or a target",
         options="--method exact --target-se 0.1", code=2),
    *(
        Case(f"a target of {value}", f"target {name} must be above 0, not {value}",
             options=f"--target-{name.replace(' ', '-')} {value}", code=2)
        for name in ("se", "sis width")
        for value in ("0.0", "-1.0", "nan", "inf")
    ),
    Case("unknown method", "'some' is not one of 'auto'", options="--method some", code=2),
    Case("extend what is not there", "none.h5: does not exist",
         command="extend none.h5 --budget 100"),
    Case("extend what is no archive", "not an HDF5 file", command="extend images.npz --budget 9"),
]  # fmt: skip

_NUMBERS = [
    Case("too many bands for the image", "16 octave bands are too many for images of 28 x 28",
         options="--bands 16 --spacing octave", make=_larger, code=2),
    Case("bands that are no number", "'many' is not a valid integer", options="--bands many",
         code=2),
    Case("limit of 0", "limit must be a whole number from 1 to", options="--limit 0", code=2),
    Case("batches of 0", "batch size must be", options="--batch-size 0", code=2),
    Case("negative seed", "seed must be", options="--seed=-1", code=2),
    Case("threads of 0", "threads must be", options="--threads 0", code=2),
    Case("threads beyond reason", "from 1 to 512", options="--threads 100000", code=2),
    Case("batches beyond reason", "batch size must be", options="--batch-size 1000000000", code=2),
    Case("seed beyond the archive", "seed must be", options=f"--seed {2**63}", code=2),
    Case("logits called probabilities", "cannot be probabilities",
         options="--output-kind probabilities"),
    Case("logits called logarithms", "cannot be log-probabilities",
         options="--output-kind log-probabilities"),
    Case("colour statistics for a grey model", "does not suit the model",
         options="--preprocess keras:caffe"),
]  # fmt: skip

_WORDS = [
    Case("unknown partition", "'l7' is not one of 'linf'", options="--partition l7", code=2),
    Case("unknown baseline", "'grey' is not one of 'zero'", options="--baseline grey", code=2),
    Case("unknown option", "No such option", options="--colour red", code=2),
    Case("unknown command", "No such command 'decompos'", command="decompos", code=2),
    Case("no images option", "Missing option '--images'", command="decompose m.onnx -o out.h5",
         code=2),
    Case("unknown provider", "provider 'TPUExecutionProvider' is not in the installed",
         options="--provider TPUExecutionProvider"),
    Case("unknown device", "unknown device 'tpu'", options="--device tpu", code=2),
    Case("device and provider", "either a device or a provider",
         options="--device cpu --provider CPUExecutionProvider", code=2),
    Case("one image for complement", "needs at least two",
         options="--baseline complement --limit 1", code=2),
]  # fmt: skip

CUDA_ABSENT = Case("CUDA that is not there", "CUDA was asked for", options="--device cuda")

_PREPARED = [
    Case("spec missing", "none.json does not exist", options="--preprocess none.json"),
    Case("spec with an unknown key", "unknown key 'means', did you mean 'mean'",
         options="--preprocess s.json", make=_text("s.json", '{"means": 0.5}')),
    Case("spec that is no JSON", "s.json is not valid JSON", options="--preprocess s.json",
         make=_text("s.json", "mean: 0.5")),
    Case("spec that is a list", "a mapping of keys to values was expected",
         options="--preprocess s.json", make=_text("s.json", "[0.5]")),
    Case("spec with a std of 0", "std must not be zero", options="--preprocess s.json",
         make=_text("s.json", '{"std": 0}')),
    Case("spec that Keras does not know", "keras:foo is not a preprocessing mode of Keras",
         options="--preprocess keras:foo"),
    Case("size that is no number", "'a,b,c' is not C,H,W", options="--input-size a,b,c", code=2),
    Case("size that the model does not take", "correct --input-size", options="--input-size 1,9,9"),
    Case("size that nothing says", "give --input-size C,H,W", make=_open_size, images="photos"),
]  # fmt: skip

_OUTPUTS = [
    Case("output in a missing folder", "its folder does not exist", output="none/out.h5"),
    Case("output a folder", "dir.h5: is a folder", output="dir.h5",
         make=lambda f: (f / "dir.h5").mkdir()),
    Case("output that is no HDF5", "end its name in .h5", output="out.txt", code=2),
    Case("output that is something else", "was not made by iaside", output="notes.h5",
         make=_text("notes.h5", "my notes")),
]  # fmt: skip

_ARCHIVES = [
    Case("archive missing", "none.h5: does not exist", command="show none.h5"),
    Case("archive a folder", "is not a file", command="show ."),
    Case("archive of random bytes", "x.h5: not an HDF5 file", command="show x.h5",
         make=_text("x.h5", "a" * 999)),
    Case("archive cut short", "seen.h5: not an HDF5 file, or a damaged one",
         command="show seen.h5", make=_cut_short),
    Case("HDF5 of something else", "but not an archive made by iaside", command="show seen.h5",
         make=_plain_hdf5),
    Case("archive of a newer schema", "has schema version 2", command="show seen.h5",
         make=_newer),
    Case("no archive at all", "Missing argument 'ARCHIVES...'", command="show", code=2),
    Case("demo of an unknown model", "no bundled model 'none'",
         command="demo --model none -o out.h5"),
]  # fmt: skip

CASES = [*_BANDS, *_LIMITS, *_NUMBERS, *_WORDS, CUDA_ABSENT, *_PREPARED, *_OUTPUTS, *_ARCHIVES]

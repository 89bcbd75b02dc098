"""Makes everything in models/ from Debian's package dataset-fashion-mnist.

    python -m tools.training.make_models [--only NAME]

Trains four PyTorch models and one Keras model, exports them to ONNX, measures them, bundles 1,000
test images, and writes PROVENANCE.md from the measurements. Needs NumPy, and pip to install the two
training environments, unless they are given.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tools.shared import fashion
from tools.shared.environments import Environments, add_arguments, prepared, run_module
from tools.shared.files import finished_file, write_json, write_text
from tools.shared.paths import BUNDLED, FASHION_IMAGES, MODELS
from tools.training.provenance import write_provenance

KERAS_MODEL = "fashion-cnn-keras"

LICENCE = """\
The images in fashion-mnist-1000.npz are part of Fashion-MNIST, and the models in this folder were
trained on Fashion-MNIST (https://github.com/zalandoresearch/fashion-mnist), whose licence is:

The MIT License (MIT)

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def write_data(folder: Path) -> None:
    """Writes the bundled images, the class names and the licence."""
    sample = fashion.sample(fashion.load_test())
    with finished_file(folder / FASHION_IMAGES.name) as partial:
        np.savez_compressed(partial, images=sample.images, labels=sample.labels)
    write_json(folder / "class_names.json", list(fashion.CLASS_NAMES))
    write_text(folder / "LICENSE-fashion-mnist", LICENCE)


def make_model(name: str, args: argparse.Namespace, environments: Environments) -> dict[str, Any]:
    """Runs the training script of one model and returns its measurements."""
    print(f"{name}:", flush=True)
    with TemporaryDirectory() as temporary:
        record = Path(temporary) / "record.json"
        outputs = ("--folder", args.folder, "--record", record, "--threads", str(args.threads))
        extra: tuple[str | Path, ...]
        if name == KERAS_MODEL:
            weights = args.keras_weights or Path(temporary) / "weights.npz"
            module, python, extra = "train_keras", environments.keras, ("--weights", weights)
        else:
            module, python, extra = "train_torch", environments.torch, (name,)
        run_module(python, f"tools.training.{module}", *extra, *outputs, threads=args.threads)
        measured: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    print(
        f"  test accuracy {measured['accuracy_test']:.4f}, "
        f"largest difference from its framework {measured['largest_difference']:.1e}",
        flush=True,
    )
    return measured


def main() -> None:
    """Makes the data files and all models, or one model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=BUNDLED, help="make this model only; keep the others")
    parser.add_argument("--folder", type=Path, default=MODELS)
    parser.add_argument(
        "--keras-weights", type=Path, help="keep the Keras weights here, for make_twins.py"
    )
    add_arguments(parser)
    args = parser.parse_args()
    fashion.check_installed()

    write_data(args.folder)
    # The file keeps the figures of the other models when one model is made again.
    records_path = args.folder / "provenance.json"
    records: dict[str, Any] = {}
    if records_path.exists():
        records = json.loads(records_path.read_text(encoding="utf-8"))
    with prepared(args) as environments:
        for name in [args.only] if args.only else BUNDLED:
            records[name] = make_model(name, args, environments)
            in_order = {known: records[known] for known in BUNDLED if known in records}
            write_json(records_path, in_order)
            write_provenance(args.folder, in_order)


if __name__ == "__main__":
    main()

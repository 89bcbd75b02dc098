"""Makes the twins in tests/data/: one network, exported from PyTorch and from Keras.

    python tools/make_twins.py

Trains the Keras network of the bundled models, puts its weights into the same network in PyTorch,
and exports both: NCHW with logits, and NHWC with a softmax, for square and for wide images.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import fashion
from environments import HERE, add_arguments, prepared, run_script


def main() -> None:
    """Parses the command line and makes the twins."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=HERE.parent / "tests" / "data")
    parser.add_argument(
        "--weights", type=Path, help="weights that make_models.py --keras-weights kept"
    )
    add_arguments(parser)
    args = parser.parse_args()
    fashion.check_installed()

    with prepared(args) as environments, TemporaryDirectory() as temporary:
        weights = args.weights or Path(temporary) / "weights.npz"
        threads = args.threads
        if not args.weights:
            training = ("--weights", weights, "--threads", str(threads))
            run_script(environments.keras, "train_keras.py", *training, threads=threads)
        sides = ("--weights", weights, "--folder", args.folder)
        run_script(environments.keras, "twin_keras.py", *sides, threads=threads)
        run_script(environments.torch, "twin_torch.py", *sides, threads=threads)
        check = ("--folder", args.folder)
        run_script(environments.torch, "check_twins.py", *check, threads=threads)


if __name__ == "__main__":
    main()

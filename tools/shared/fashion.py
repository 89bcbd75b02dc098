"""Fashion-MNIST as Debian packages it: 60,000 training and 10,000 test images, 28 x 28, grey."""

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tools.shared.files import fail

FOLDER = Path("/usr/share/datasets/fashion-mnist")
PACKAGE = "dataset-fashion-mnist"
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SAMPLES_PER_CLASS = 100


class Labelled(NamedTuple):
    """Images uint8 (n, 28, 28) and their labels int64 (n,)."""

    images: np.ndarray
    labels: np.ndarray


def check_installed() -> None:
    """Ends the script, with the command that installs the Debian package, if it is missing."""
    if not (FOLDER / "train-images-idx3-ubyte.gz").is_file():
        fail(f"Fashion-MNIST is not in {FOLDER}\n    apt-get install {PACKAGE}")


def _read_idx(path: Path) -> np.ndarray:
    """Reads one gzipped IDX file of unsigned bytes.

    The header is two zero bytes, the element type (8: unsigned byte), the number of dimensions,
    and each dimension as a big-endian 32-bit integer (http://yann.lecun.com/exdb/mnist/).
    """
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\0\0\x08":
        fail(f"{path} is not an IDX file of unsigned bytes")
    dimensions = data[3]
    shape = np.frombuffer(data, ">u4", dimensions, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _load(prefix: str) -> Labelled:
    return Labelled(
        _read_idx(FOLDER / f"{prefix}-images-idx3-ubyte.gz"),
        _read_idx(FOLDER / f"{prefix}-labels-idx1-ubyte.gz").astype(np.int64),
    )


def load_train() -> Labelled:
    """Returns the 60,000 training images."""
    return _load("train")


def load_test() -> Labelled:
    """Returns the 10,000 test images."""
    return _load("t10k")


def sample(data: Labelled) -> Labelled:
    """Returns the first 100 images of each class, in the order that they have in `data`."""
    keep = np.sort(
        np.concatenate(
            [np.flatnonzero(data.labels == c)[:SAMPLES_PER_CLASS] for c in range(len(CLASS_NAMES))]
        )
    )
    return Labelled(data.images[keep], data.labels[keep])

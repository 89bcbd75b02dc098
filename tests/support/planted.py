"""Archives whose values are planted, so that what follows from them is known."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import digest_of

__all__ = ["planted"]


def planted(
    original: Path,
    target: Path,
    *,
    wrong: Sequence[int] = (),
    worse: float = 0.0,
    phi: NDArray[np.float64] | None = None,
    whole: NDArray[np.float64] | None = None,
) -> Path:
    """A copy of an archive with other values, signed as if it had been made so.

    Args:
        original: the archive.
        target: the copy.
        wrong: images that the model gets wrong; it gets all others right.
        worse: nats by which each whole image is less probable.
        phi: added to the contributions of each image, ``(images, bands)`` or broadcast to it.
        whole: log-probabilities of whole images, ``(images,)``, instead.
    """
    shutil.copy(original, target)
    with h5py.File(target, "r+") as file:
        predicted = file["label"][()]
        predicted[list(wrong)] = (predicted[list(wrong)] + 1) % 10
        file["predicted"][...] = predicted
        file["log_probability_whole"][...] = (
            file["log_probability_whole"][()] if whole is None else whole
        ) - worse
        if phi is not None:
            file["phi_image"][...] += phi
        file.attrs["accuracy"] = 1 - len(wrong) / predicted.size
        # A checkpoint is another model.
        file.attrs["model_sha256"] = np.bytes_(f"{abs(hash(str(target))):064x}")
        file.attrs["digest"] = digest_of(file)
    return target

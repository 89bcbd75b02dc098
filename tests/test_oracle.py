"""Everything at once against `oracle`, on random models: any wrong sign, mask or axis shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import iaside_onnx
from iaside_onnx import Preprocess
from tests.support.onnx_models import Net
from tests.support.oracle import Setting, solve


@dataclass(frozen=True)
class Case:
    """A model, a game, and how far the two computations may differ, in nats."""

    name: str
    net: Net
    setting: Setting
    images: int = 3
    stored: str = "uint8"
    tolerance: float = 1e-4
    batch_size: int = 32


GREY, COLOUR = (1, 8, 8), (3, 9, 14)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

CASES = [
    Case("plain", Net(GREY), Setting(4)),
    Case("colour, odd and not square", Net(COLOUR), Setting(5, mean=MEAN, std=STD)),
    Case(
        "bgr with a mean and std per channel, NHWC",
        Net(COLOUR, layout="NHWC", batch=3),
        Setting(4, bgr=True, baseline="mean", mean=(103.9, 116.8, 123.7), std=(57.0, 57.5, 58.0),
                value_range=(0.0, 255.0)),
        images=4,
    ),
    Case("six bands, l2", Net((1, 13, 12), seed=1), Setting(6, "l2"), stored="float64"),
    Case("l1, mean", Net((1, 12, 7), seed=2), Setting(5, "l1", baseline="mean"), images=4),
    Case(
        "octaves, noise",
        Net((3, 16, 16), seed=3, ending="softmax"),
        Setting(4, "linf", "octave", "noise", seed=5),
    ),
    Case(
        "octaves in l2, complement, minmax",
        Net((3, 11, 16), layout="NHWC", ending="log-softmax"),
        Setting(4, "l2", "octave", "complement", "minmax", seed=9),
        images=5,
        stored="float32",
    ),
    Case(
        "octaves in l1, clip",
        Net((1, 15, 9), ending="log-of-softmax"),
        Setting(4, "l1", "octave", "zero", "clip"),
        stored="float64",
    ),
    Case("zero, minmax, constants", Net((1, 9, 14)), Setting(6, pixel_range="minmax")),
    Case(
        "mean, minmax, static batch of 5",
        Net(COLOUR, batch=5, ending="softmax", tail=("Identity",)),
        Setting(4, "l2", baseline="mean", pixel_range="minmax", value_range=(-1.0, 1.0)),
    ),
    Case(
        "static batch of 1, predicted",
        Net((1, 7, 10), batch=1),
        Setting(3, labels="predicted", baseline="noise", pixel_range="clip"),
    ),
    Case(
        "open height and width, predicted",
        Net((3, 10, 13), open_size=True, layout="NHWC", ending="softmax", seed=2),
        Setting(5, "l2", baseline="complement", labels="predicted", seed=3),
        images=4,
        batch_size=7,
    ),
    Case("open size, grey", Net((1, 6, 5), open_size=True), Setting(3, "l1", mean=(0.3,))),
    Case("float64 input", Net(COLOUR, dtype="float64"), Setting(4, baseline="complement")),
    # The two computations round the same input to 16 bits, but from values that differ by 1e-7:
    # now and then a pixel lands one step (at most 5e-4) away.
    Case(
        "float16 input",
        Net(COLOUR, dtype="float16", layout="NHWC"),
        Setting(4, "l2", baseline="noise"),
        tolerance=1e-3,
    ),
    # Here the logits have 11 bits too: values up to 8 are known to 2e-3 each.
    Case(
        "float16 throughout",
        Net(GREY, dtype="float16", weights="float16", ending="softmax"),
        Setting(4),
        tolerance=1e-2,
    ),
    # Inputs are whole grey levels; one that lies at a half may be rounded either way.
    Case(
        "uint8 input",
        Net(COLOUR, dtype="uint8", layout="NHWC", batch=3),
        Setting(4, baseline="mean", value_range=(0.0, 255.0)),
        tolerance=5e-3,
    ),
    Case(
        "uint8 input, clipped before",
        Net(GREY, dtype="uint8", ending="softmax"),
        Setting(4, "l1", pixel_range="clip", value_range=(0.0, 255.0)),
        tolerance=5e-3,
    ),
]  # fmt: skip


def _images(case: Case) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Images as a user stores them, ``(n, H, W[, 3])``, and labels."""
    rng = np.random.default_rng(case.images)
    channels, height, width = case.net.size
    shape = (case.images, height, width) + ((channels,) if channels == 3 else ())
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    stored = images if case.stored == "uint8" else (images / 255).astype(case.stored)
    return stored, rng.integers(0, case.net.classes, case.images)


def _decompose(
    case: Case, folder: Path, images: NDArray[Any], labels: Any, limit: int | None = None
) -> iaside_onnx.Archive:
    setting = case.setting
    spec = Preprocess(
        mean=setting.mean,
        std=setting.std,
        value_range=setting.value_range,
        color_order="bgr" if setting.bgr else "rgb",
    )
    return iaside_onnx.decompose(
        case.net.save(folder / "net.onnx"),
        images,
        folder / "out.h5",
        labels="predicted" if setting.labels == "predicted" else labels,
        preprocess=spec,
        bands=setting.bands,
        partition=setting.partition,
        spacing=setting.spacing,
        baseline=setting.baseline,
        pixel_range=setting.pixel_range,
        batch_size=case.batch_size,
        seed=setting.seed,
        limit=limit,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_archive_holds_what_the_definitions_say(case: Case, tmp_path: Path) -> None:
    """Any step of the method that is not as design.md defines it would differ by far more."""
    images, labels = _images(case)
    archive = _decompose(case, tmp_path, images, labels)
    pixels = images / 255 if images.dtype == np.uint8 else images.astype(np.float64)
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    answer = solve(case.net, case.setting, pixels, labels)

    def close(name: str, wanted: Any) -> None:
        np.testing.assert_allclose(archive[name], wanted, rtol=0, atol=case.tolerance, err_msg=name)

    # Were the model indifferent to the image, agreement would mean nothing.
    assert np.ptp(answer.worth, axis=1).min() > 20 * case.tolerance
    np.testing.assert_array_equal(archive["predicted"], answer.predicted)
    close("worth", answer.worth)
    close("log_probability_whole", answer.whole)
    close("log_probability_empty", answer.worth[:, 0])
    close("phi_image", answer.phi_image)
    close("phi", answer.phi_image.mean(axis=0))
    close("psi", answer.psi)
    close("sis", answer.sis)
    if case.setting.labels == "given":
        assert archive.metadata.accuracy == (answer.predicted == labels).mean()
    else:
        assert np.isnan(archive.metadata.accuracy)


@pytest.mark.parametrize("baseline", ["noise", "complement"])
def test_random_baselines_go_by_position_in_the_source(baseline: Any, tmp_path: Path) -> None:
    """Were they drawn by the row in the run, a limited run would get others, and none repeat it."""
    net = Net((1, 8, 8))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 8, 8), dtype=np.uint8)
    labels = rng.integers(0, 5, 12)
    case = Case("", net, Setting(3, baseline=baseline, seed=4))
    archive = _decompose(case, tmp_path, images, labels, limit=5)
    positions = archive["image"]
    assert positions.tolist() != list(range(5))
    answer = solve(
        net, case.setting, images[positions][:, None] / 255, labels[positions], positions
    )
    np.testing.assert_allclose(archive["worth"], answer.worth, rtol=0, atol=1e-4)

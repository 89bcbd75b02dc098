"""Series of checkpoints: their order, where they broke, and the trend."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from iaside_onnx import decompose, open_archive
from iaside_onnx.analysis import archives_in, series
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.report.series_words import series_words
from iaside_onnx.report.words import short_names
from tests.support.planted import planted
from tests.support.sampling import CNN, PICTURES

N, BANDS = 100, 3
WORDS: dict[str, Any] = {"bands": BANDS, "limit": N, "threads": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One archive, of which checkpoints are made."""
    path = tmp_path_factory.mktemp("series") / "made.h5"
    decompose(CNN, PICTURES, path, **WORDS)
    return path


def checkpoints(made: Path, folder: Path, *wrong: int, **values: Any) -> list[Path]:
    """A checkpoint for each number of images that it gets wrong."""
    return [
        planted(made, folder / f"epoch-{k}.h5", wrong=range(count), **values)
        for k, count in enumerate(wrong)
    ]


def save(path: Path, rows: Sequence[int]) -> None:
    """Some of the bundled images."""
    with np.load(PICTURES) as bundled:
        np.savez(path, images=bundled["images"][list(rows)], labels=bundled["labels"][list(rows)])


def told(found: Any) -> list[str]:
    """What is said of a series."""
    return series_words(found, short_names(found.comparison.groups[0].archives))


def test_where_it_broke(made: Path, tmp_path: Path) -> None:
    """The checkpoint after the break is blamed, or a small change before it."""
    found = series(checkpoints(made, tmp_path, 2, 3, 3, 30, 31))
    assert found.first_drop is not None
    assert found.first_below is not None
    assert found.first_drop.reference.path.name == "epoch-2.h5"
    assert found.first_drop.archive.path.name == "epoch-3.h5"
    assert found.first_below.archive.path.name == "epoch-3.h5"
    first, second, *_ = told(found)
    assert first.startswith(
        "epoch-3 is the first checkpoint that is certainly worse than the one before, epoch-2: "
        "accuracy -0.270 ["
    )
    assert second.startswith(
        "epoch-3 is the first checkpoint that is certainly worse than the first, epoch-0: accuracy"
    )


def test_a_slow_decline_is_seen_from_the_first(made: Path, tmp_path: Path) -> None:
    """No step is certain, and the sum of them is not seen."""
    found = series(checkpoints(made, tmp_path, *range(0, 40, 3)))
    assert found.first_drop is None
    assert found.first_below is not None
    assert 3 < int(found.first_below.archive.path.stem.partition("-")[2]) < 10
    assert found.trend.accuracy is not None
    assert found.trend.accuracy.value == pytest.approx(-0.03)
    assert found.trend.accuracy.high < 0
    assert told(found)[0] == "no checkpoint is certainly worse than the one before"


def test_log_probabilities_tell_before_accuracy(made: Path, tmp_path: Path) -> None:
    """A model that gets unsure of everything, and still gets everything right."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, N))
    # A little worse, which is not certain.
    noise[0] -= noise[0].mean() + 0.001
    plain = open_archive(made)["log_probability_whole"].astype(float)
    paths = [
        planted(made, tmp_path / f"{k}.h5", whole=plain + change)
        for k, change in enumerate([0 * plain, noise[0], noise[1] - 1.0])
    ]
    found = series(paths)
    assert found.first_drop is not None
    assert found.first_drop.archive.path.name == "2.h5"
    assert "accuracy" not in told(found)[0]
    assert "log p -" in told(found)[0]


def test_nothing_is_certain_of_equal_checkpoints(made: Path, tmp_path: Path) -> None:
    """A break by rounding."""
    found = series(checkpoints(made, tmp_path, 5, 5, 5))
    assert found.first_drop is found.first_below is None
    assert told(found)[1] == "no checkpoint is certainly worse than the first, epoch-0"
    assert told(found)[3] == "no band's phi has a certain trend"


def test_all_pairs_are_corrected_for_all(made: Path, tmp_path: Path) -> None:
    """Of a hundred checkpoints one breaks by chance."""
    found = series(checkpoints(made, tmp_path, 1, 2, 3, 4))
    pairs = [*found.comparison.pairs, *found.steps[1:]]
    assert [(p.reference.path.stem[-1], p.archive.path.stem[-1]) for p in pairs] == [
        ("0", "1"), ("0", "2"), ("0", "3"), ("1", "2"), ("2", "3"),
    ]  # fmt: skip
    assert {pair.comparisons for pair in pairs} == {5}
    assert found.steps[0] is found.comparison.pairs[0]


def test_the_trend_is_that_of_least_squares(made: Path, tmp_path: Path) -> None:
    """A slope of other weights, or an interval that takes images for unrelated."""
    rng = np.random.default_rng(0)
    phi = rng.standard_normal((4, N, BANDS)) + np.arange(4)[:, None, None] * [0.5, 0.0, -0.5]
    paths = [
        planted(
            made, tmp_path / f"{k}.h5", wrong=rng.choice(N, 20).tolist(), phi=phi[k], worse=0.1 * k
        )
        for k in range(4)
    ]
    trend = series(paths).trend
    opened = [open_archive(path) for path in paths]
    for name, found, level in (
        ("right", trend.accuracy, 0.95),
        ("log_probability_whole", trend.log_probability, 0.95),
        *((k, trend.phi[k], 1 - 0.05 / BANDS) for k in range(BANDS)),
    ):
        values = np.array(
            [
                one["predicted"] == one["label"]
                if name == "right"
                else one["phi_image"][:, name]
                if isinstance(name, int)
                else one[str(name)]
                for one in opened
            ],
            dtype=float,
        )
        # A line is fitted to each image by itself.
        slopes = np.polyfit(range(4), values, 1)[0]
        plain: Any = stats.ttest_1samp(slopes, 0).confidence_interval(level)
        assert found is not None
        assert found.value == pytest.approx(slopes.mean(), abs=1e-12)
        np.testing.assert_allclose((found.low, found.high), plain, rtol=1e-6, atol=1e-9)
    assert trend.images == N
    assert told(series(paths))[-1] == "phi certainly rises in band 0 and falls in band 2"


def test_the_trend_is_over_images_that_all_have(made: Path, tmp_path: Path) -> None:
    """Images that one checkpoint lacks would make a trend of their own."""
    save(tmp_path / "part.npz", range(500, 0, -1))
    part = decompose(CNN, tmp_path / "part.npz", tmp_path / "part.h5", bands=BANDS, threads=1)
    found = series([made, made, part])
    first, last = (set(one["image_sha256"].tolist()) for one in (open_archive(made), part))
    assert 20 < found.trend.images < N
    assert found.trend.images == len(first & last)
    # The same model: matched images have no slope, but for rounding.
    assert abs(found.trend.phi[0].value) < 1e-4


def test_natural_order_and_what_is_left_out(made: Path, tmp_path: Path) -> None:
    """epoch-10 before epoch-2, or a checkpoint that is silently not there."""
    for name in ("epoch-10.h5", "epoch-2.h5", "epoch-1.hdf5", "epoch-007.nc"):
        shutil.copy(made, tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "epoch-3.h5").mkdir()
    archives, others = archives_in(tmp_path)
    names = [path.name for path in archives]
    assert names == ["epoch-1.hdf5", "epoch-2.h5", "epoch-007.nc", "epoch-10.h5"]
    assert others == ["epoch-3.h5", "notes.txt"]
    # The newest checkpoint would pass all gates, as nobody looked at it.
    (tmp_path / "epoch-11.h5").write_bytes(made.read_bytes()[:5000])
    with pytest.raises(ArchiveError, match=r"epoch-11\.h5: "):
        archives_in(tmp_path)
    with pytest.raises(ArchiveError, match="cannot be read"):
        archives_in(tmp_path / "none")


def test_what_is_no_series_is_refused(made: Path, tmp_path: Path) -> None:
    """A trend over two baselines, or of one checkpoint."""
    with pytest.raises(OptionError, match="at least two archives, found 1"):
        series([made])
    decompose(CNN, PICTURES, tmp_path / "mean.h5", baseline="mean", **WORDS)
    with pytest.raises(OptionError, match="these archives have mean and zero"):
        series([made, tmp_path / "mean.h5"])
    parts = []
    for name, rows in {"a": [0, 1, 2, 3], "b": [0, 1, 6], "c": [2, 3, 6]}.items():
        save(tmp_path / "part.npz", rows)
        target = tmp_path / f"{name}.h5"
        parts.append(decompose(CNN, tmp_path / "part.npz", target, bands=BANDS, threads=1))
    with pytest.raises(OptionError, match="no image is in all archives of the series"):
        series(parts)

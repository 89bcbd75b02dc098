"""Mean interactions of pairs of bands, and their intervals, from archives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from iaside_onnx import Archive, decompose, interactions, open_archive
from iaside_onnx.errors import ArchiveError
from tests.support.editing import edited
from tests.support.games import interactions_by_definition
from tests.support.sampling import CNN, PICTURES

Images = NDArray[np.float64]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Three hundred images, three bands: worths come in two pieces."""
    path = tmp_path_factory.mktemp("long") / "long.h5"
    archive = decompose(CNN, PICTURES, path, bands=3, limit=300, inference="sample")
    assert len(archive.pieces("worth")) > 1
    return archive


def by_image(archive: Archive) -> Images:
    return interactions_by_definition(archive["worth"].astype(np.float64), archive.bands)


def margins(images: Images, pairs: int) -> Images:
    """Half widths of t intervals, as SciPy has them, that hold together for so many pairs."""
    n = len(images)
    error = stats.sem(images, axis=0)
    return np.asarray(error * stats.t.ppf(1 - 0.05 / pairs / 2, n - 1))


def test_means_and_intervals(table: Archive) -> None:
    """Intervals would be those of one pair, or of 36 instead of the 15 pairs that there are."""
    found, images = interactions(table), by_image(table)
    assert (found.bands, found.images) == (6, 40)
    margin = margins(images, 15)
    np.testing.assert_allclose(found.values, images.mean(axis=0), rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.low, images.mean(axis=0) - margin, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.high, images.mean(axis=0) + margin, rtol=0, atol=1e-10)
    for matrix in (found.values, found.low, found.high):
        np.testing.assert_array_equal(matrix, matrix.T)
        assert (np.diag(matrix) == 0).all()


def test_pairs_come_in_the_order_of_their_size(table: Archive) -> None:
    """A weak pair would be printed first, or one twice."""
    found = interactions(table)
    pairs = found.pairs()
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == 15
    assert all(i < j for i, j in pairs)
    sizes = [abs(found.values[pair]) for pair in pairs]
    assert sizes == sorted(sizes, reverse=True)
    i, j = pairs[3]
    interval = found.interval(j, i)
    assert (interval.value, interval.low) == (found.values[i, j], found.low[i, j])
    assert interval.high == found.high[i, j]


def test_pieces_give_what_the_whole_gives(long: Archive) -> None:
    """The last piece would count as much as a full one, or not at all."""
    found, images = interactions(long), by_image(long)
    # Three pairs; 300 of the 1,000 images that the intervals are about.
    margin = margins(images, 3) * np.sqrt(1 - 300 / 1000)
    assert found.images == 300
    np.testing.assert_allclose(found.values, images.mean(axis=0), rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.high - found.values, margin, rtol=0, atol=1e-10)


def test_small_spreads_of_large_means_are_kept(long: Archive, tmp_path: Path) -> None:
    """Sums of squares lose them: 2**20 squared has no digits left for a spread of 1/16."""
    worth = np.zeros((300, 8), dtype=np.float32)
    worth[:, 7] = 2**20 + np.random.default_rng(0).integers(0, 2, 300) / 16

    def edit(file: Any) -> None:
        file["worth"][...] = worth

    found = interactions(open_archive(edited(long.path, tmp_path, edit, sign=True)))
    # Only all three together are worth something, so each pair has half of it.
    images = worth[:, 7].astype(np.float64) / 2
    margin = margins(images, 3) * np.sqrt(1 - 300 / 1000)
    reach = (found.high - found.low)[np.triu_indices(3, 1)] / 2
    np.testing.assert_allclose(reach, np.full(3, margin), rtol=1e-6)


def test_all_images_of_the_source_leave_no_doubt(tmp_path: Path) -> None:
    """Intervals about just these images, all of which were evaluated, would have a width."""
    pixels = np.random.default_rng(0).random((5, 28, 28), dtype=np.float32)
    archive = decompose(
        CNN, pixels, tmp_path / "all.h5", bands=2, labels="predicted", inference="sample"
    )
    found = interactions(archive)
    np.testing.assert_array_equal(found.low, found.values)
    np.testing.assert_array_equal(found.high, found.values)


def test_one_image_has_no_intervals(tmp_path: Path) -> None:
    """A single image would seem certain, or raise a warning of NumPy."""
    found = interactions(decompose(CNN, PICTURES, tmp_path / "one.h5", bands=4, limit=1))
    apart = ~np.eye(4, dtype=bool)
    assert found.images == 1
    assert np.isfinite(found.values).all()
    assert np.isnan(found.low[apart]).all()
    assert np.isnan(found.high[apart]).all()
    assert found.interval(0, 1).sign == 0


def test_a_sample_is_refused(sampled: Archive) -> None:
    """Prefixes of a few orders taken for every coalition would give numbers without meaning."""
    with pytest.raises(ArchiveError, match=r"every coalition of its 6 bands.*`method='exact'`"):
        interactions(sampled)


def _nan(file: Any) -> None:
    file["worth"][3, 5] = np.nan


def _infinite(file: Any) -> None:
    file["worth"][3, 5] = -np.inf


def _other_order(file: Any) -> None:
    file["coalition"][...] = file["coalition"][...][::-1]


@pytest.mark.parametrize(
    ("edit", "phrase"),
    [
        (_nan, "worths of image {} are not finite"),
        (_infinite, "worths of image {} are not finite"),
        (_other_order, "does not hold the worth of every coalition"),
    ],
)
def test_edited_archives_are_refused(
    edit: Callable[[Any], None], phrase: str, table: Archive, tmp_path: Path
) -> None:
    """All means would be NaN, or those of other pairs, with nothing said."""
    archive = open_archive(edited(table.path, tmp_path, edit, sign=True))
    with pytest.raises(ArchiveError, match=phrase.format(table["image_id"][3])):
        interactions(archive)

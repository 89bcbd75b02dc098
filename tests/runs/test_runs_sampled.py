"""Sampled runs of real models: right, within their budget, and resumable."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from numpy.typing import NDArray
from PIL import Image

import iaside_onnx
from iaside_onnx import Archive, decompose, extend, shapley_values
from iaside_onnx.errors import ImageError, RunConflictError
from iaside_onnx.game import PairedDesign, draw_order
from iaside_onnx.runs import LogProgress
from tests.support.bad_case import pixels, save_wide
from tests.support.command import in_process
from tests.support.comparing import assert_nothing_left, assert_same
from tests.support.sampling import CNN, MODELS, PICTURES, sample
from tests.support.stopping import Stopping


def by_hand(archive: Archive) -> NDArray[np.float64]:
    """Contributions of each image from its coalitions and worths alone, with sets."""
    full = 2**archive.bands - 1
    estimates = []
    for masks, worths, pairs in zip(
        archive.coalitions(), archive.worth(), archive["pairs"], strict=True
    ):
        known = {int(m): float(w) for m, w in zip(masks, worths, strict=True) if not np.isnan(w)}
        # The first pair's prefixes come in order, from slot 2 on.
        prefixes = [0, *masks[2 : archive.bands + 1].tolist(), full]
        order = [after ^ before for before, after in pairwise(prefixes)]
        phi = np.zeros(archive.bands)
        for shift in archive.metadata.sample["shifts"][:pairs]:  # type: ignore[index]
            turned = order[shift:] + order[:shift]
            for line in (turned, turned[::-1]):
                before = 0
                for bit in line:
                    gain = known[before | bit] - known[before]
                    phi[bit.bit_length() - 1] += gain / (2 * pairs)
                    before |= bit
        estimates.append(phi)
    return np.array(estimates)


def test_worths_are_those_of_exact_evaluation(table: Archive, sampled: Archive) -> None:
    """A coalition whose worth is another one's, or another image's."""
    row_of = {int(position): row for row, position in enumerate(table["image"])}
    masks, worths = sampled.coalitions().astype(np.int64), sampled.worth()
    assert sorted(np.unique(sampled["pairs"])) == [1, 2]
    for position, own, values, pairs in zip(
        sampled["image"], masks, worths, sampled["pairs"], strict=True
    ):
        seen = ~np.isnan(values)
        assert seen.sum() == (12 if pairs == 1 else 20)
        assert (own[~seen] == 0).all()
        wanted = table.worth()[row_of[int(position)], own[seen]]
        np.testing.assert_allclose(values[seen], wanted, rtol=0, atol=1e-4)


def test_every_estimate_can_be_made_again_from_the_archive(sampled: Archive) -> None:
    """Numbers that nobody can check in ten years."""
    phi = by_hand(sampled)
    np.testing.assert_allclose(sampled["phi_image"], phi, rtol=0, atol=1e-9)
    np.testing.assert_allclose(sampled["phi"], phi.mean(axis=0), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(sampled["block"], sampled["draw"] // 6)
    # Fewer than 10 blocks: the images as a plain sample, whose class shares are chance.
    error = phi.std(axis=0, ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(sampled["phi_se"], error, rtol=1e-9)


def test_estimates_are_near_the_exact_contributions(table: Archive, sampled: Archive) -> None:
    """All images are in the sample, so only the few coalitions of each are uncertain."""
    error = np.abs(sampled["phi"] - table["phi"])
    assert (error <= 5 * sampled["phi_se"] + 1e-6).all()
    assert error.max() > 0


def test_what_is_evaluated_stays_within_the_budget(
    sampled: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A budget is money; one that is overspent, or counted otherwise than it is spent."""
    told = sampled.metadata.sample
    assert told is not None
    # 40 images at 11, 36 of them 8 more: seen, whole included, empty not, as all share it.
    assert told["evaluations"] == 40 * 11 + 36 * 8 == 728
    seen = int((~np.isnan(sampled.worth())).sum())
    assert seen - 40 == told["evaluations"]
    counted = 0
    real = iaside_onnx.runtime.binding.Binding.run

    def run(self: Any, count: int) -> Any:
        nonlocal counted
        counted += count
        return real(self, count)

    monkeypatch.setattr(iaside_onnx.runtime.binding.Binding, "run", run)
    archive = sample(tmp_path / "out.h5", budget=740)
    # 16 images to look at the outputs, 3 twice alone, these among 4 others, and the baseline; then
    # the empty coalition once a pass.
    assert counted == 728 + (16 + 2 * 3 + 7 + 1) + 1
    assert_same(sampled.path, archive.path)


def test_xarray_opens_it(sampled: Archive) -> None:
    """A dimension that two axes share, or without a scale, and no other tool can read it."""
    with xarray.open_dataset(sampled.path, engine="h5netcdf") as data:
        assert data["worth"].dims == data["coalition"].dims == ("image", "slot")
        assert data["coalition"].dtype == np.uint64
        assert data["phi_se"].attrs["units"] == "nat"


def test_the_method_is_chosen_by_the_budget_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A sample that nobody asked for, in silence; or 2^M passes that nobody has time for."""
    with caplog.at_level("INFO", logger="iaside_onnx"):
        every = sample(tmp_path / "a.h5", method="auto", budget=40 * 64)
        some = sample(tmp_path / "b.h5", method="auto", budget=40 * 64 - 1)
    assert not every.own_coalitions
    assert some.own_coalitions
    assert "method: exact; all coalitions of 40 images are 2,560 evaluations, within" in caplog.text
    assert "method: sampled; all coalitions of 40 images are 2,560 evaluations, over" in caplog.text


def test_more_than_sixteen_bands_are_sampled(tmp_path: Path) -> None:
    """The promise of up to 64 bands."""
    save_wide(tmp_path)
    archive = decompose(
        tmp_path / "model.onnx",
        pixels(30, 28, 28),
        tmp_path / "out.h5",
        bands=14,
        labels=np.arange(30) % 5,
        method="sampled",
        budget=30 * 27,
    )
    np.testing.assert_allclose(archive["phi_image"], by_hand(archive), rtol=0, atol=1e-9)
    assert archive["worth"].shape == (30, 28)


@pytest.mark.parametrize(
    "options",
    [
        {"baseline": "complement"},
        {"baseline": "noise"},
        {"baseline": "mean"},
        {"pixel_range": "minmax"},
        {"pixel_range": "clip"},
        {"labels": "predicted"},
        {"partition": "l1", "spacing": "octave", "bands": 4},
    ],
)
def test_all_options_of_the_game_work_on_a_sample(tmp_path: Path, options: dict[str, Any]) -> None:
    """The empty coalition is an own one, the full one is no whole image, labels come late."""
    words = {"bands": 5, "limit": 12, **options}
    exact = sample(tmp_path / "exact.h5", method="exact", **{**words, "budget": None})
    found = sample(tmp_path / "some.h5", **{**words, "budget": 12 * 24})
    assert found["pairs"].max() > 1
    rows = {int(p): row for row, p in enumerate(exact["image"])}
    for position, masks, values, label in zip(
        found["image"], found.coalitions(), found.worth(), found["label"], strict=True
    ):
        row, seen = rows[int(position)], ~np.isnan(values)
        assert label == exact["label"][row]
        wanted = exact.worth()[row, masks[seen].astype(np.int64)]
        np.testing.assert_allclose(values[seen], wanted, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["phi_image"], by_hand(found), rtol=0, atol=1e-9)


def test_a_target_ends_the_run_as_soon_as_it_is_reached(tmp_path: Path) -> None:
    """A run that stops early claims a precision that it has not; one that goes on wastes time."""
    found = sample(tmp_path / "out.h5", limit=1000, budget=None, target_se=0.9)
    told = found.metadata.sample
    assert told is not None
    assert found["phi_se"].max() <= 0.9
    assert told["rounds"][-1] < 1000
    shorter = sample(
        tmp_path / "less.h5", limit=1000, budget=11 * told["rounds"][-2], target_se=None
    )
    assert shorter["phi_se"].max() > 0.9
    narrow = sample(tmp_path / "sis.h5", limit=1000, budget=None, target_sis_width=0.02)
    assert narrow["sis_high"] - narrow["sis_low"] <= 0.04


def test_a_target_out_of_reach_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Silence would be a claim that it was reached."""
    found = sample(tmp_path / "out.h5", budget=None, target_se=1e-6)
    assert found["pairs"].tolist() == [6] * 40
    assert "was not reached" in caplog.text
    assert "only more images, or `method='exact'`" in found.metadata.notes[-1]
    # Every shift of every image: all arcs of its circle, and nothing twice.
    assert int((~np.isnan(found.worth())).sum()) == 40 * (6 * 5 + 2)
    spent = sample(tmp_path / "spent.h5", budget=99999)
    assert "1,240 of the 99,999 evaluations" in spent.metadata.notes[-1]
    less = sample(tmp_path / "less.h5", target_se=1e-6)
    assert "the budget is spent" in less.metadata.notes[-1]


def test_one_image_has_no_interval(tmp_path: Path) -> None:
    """Bounds of nothing."""
    found = sample(tmp_path / "out.h5", limit=1, budget=None, target_se=0.1)
    assert np.isnan(found["phi_low"]).all()
    assert np.isfinite(found["phi"]).all()
    assert "no intervals" in found.metadata.notes[-1]


def test_another_budget_over_the_same_output_is_told_the_way(sampled: Archive) -> None:
    """A user who wants more is told to throw away what there is."""
    with pytest.raises(RunConflictError, match=r"budget \(740 there.*iaside extend goes on"):
        sample(sampled.path, budget=900)
    with pytest.raises(RunConflictError) as caught:
        sample(sampled.path, budget=900, seed=5)
    assert "extend" not in str(caught.value)


def test_about_these_images_alone(table: Archive, tmp_path: Path) -> None:
    """All 1,000 images are the population: forty of them leave 96 % of the variance."""
    wide = decompose(CNN, PICTURES, tmp_path / "w.h5", bands=6, limit=40, inference="sample")
    ratio = (wide["phi_high"] - wide["phi_low"]) / (table["phi_high"] - table["phi_low"])
    np.testing.assert_allclose(ratio, np.sqrt(0.96), rtol=1e-9)
    note = "the intervals are for the images of this source alone"
    assert note in in_process("show", wide.path).out
    assert note not in in_process("show", table.path).out
    own = sample(tmp_path / "o.h5", inference="sample")
    population = sample(tmp_path / "p.h5")
    # Class shares are known here, and left to chance there: deviations are from other means.
    assert np.square(own["phi_se"]).sum() < np.square(population["phi_se"]).sum()


def test_two_models_are_asked_the_same_of_the_same_images(tmp_path: Path) -> None:
    """Differences between models would hold the differences between two samples."""
    one = sample(tmp_path / "one.h5")
    other = decompose(
        MODELS / "fashion-cnn-pgd.onnx", PICTURES, tmp_path / "other.h5",
        method="sampled", bands=6, limit=40, budget=400,
    )  # fmt: skip
    np.testing.assert_array_equal(one["image"], other["image"])
    np.testing.assert_array_equal(one.coalitions(), other.coalitions())
    assert not np.array_equal(one.worth(), other.worth())
    another = sample(tmp_path / "seed.h5", seed=1)
    assert not np.array_equal(one.coalitions(), another.coalitions())


@pytest.mark.parametrize("images", [0, 17, 41, 70])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    sampled: Archive, tmp_path: Path, images: int
) -> None:
    """Interrupted in the first round, the first pass and the second pass."""
    path = tmp_path / "out.h5"
    words: dict[str, Any] = {"method": "sampled", "bands": 6, "limit": 40, "budget": 740}
    with pytest.raises(KeyboardInterrupt):
        decompose(CNN, PICTURES, path, progress=Stopping(images), **words)
    decompose(CNN, PICTURES, path, **words)
    assert_same(sampled.path, path)
    assert_nothing_left(path)


def photos(folder: Path) -> Path:
    """Twenty-four pictures in a flat folder."""
    folder.mkdir()
    for number, image in enumerate(pixels(24, 28, 28)):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return folder


class Removes(LogProgress):
    """Takes a file away when all images have their first pair."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._left = path, 24

    def advance(self, images: int) -> None:
        self._left -= images
        if self._left == 0:
            self._path.unlink()


def test_an_image_that_is_gone_in_a_later_pass(tmp_path: Path) -> None:
    """NaN in all results, or a failure that nobody is told of."""
    folder = photos(tmp_path / "photos")
    words: dict[str, Any] = {
        "method": "sampled", "bands": 6, "budget": 24 * 25, "labels": "predicted"
    }  # fmt: skip
    whole = decompose(CNN, folder, tmp_path / "whole.h5", **words)
    assert whole["pairs"].tolist() == [3] * 24
    gone = folder / f"{int(whole['image'][7]):02}.png"
    kept = gone.read_bytes()
    with pytest.raises(ImageError, match=f"1 of 24 images failed.*{gone.name}"):
        decompose(CNN, folder, tmp_path / "out.h5", progress=Removes(gone), **words)
    gone.write_bytes(kept)
    words["on_bad_image"] = "skip"
    found = decompose(CNN, folder, tmp_path / "out.h5", progress=Removes(gone), **words)
    assert found["pairs"].tolist() == [3] * 7 + [1] + [3] * 16
    assert np.isfinite(found["phi"]).all()
    assert "1 images failed after their first pair" in found.metadata.notes[-1]
    rest = np.arange(24) != 7
    np.testing.assert_allclose(found["phi_image"][rest], whole["phi_image"][rest], atol=1e-4)


def test_an_image_that_fails_leaves_its_block(tmp_path: Path) -> None:
    """One bad file must not shift the design of all images behind it."""
    folder = photos(tmp_path / "photos")
    words: dict[str, Any] = {
        "method": "sampled", "bands": 6, "budget": 24 * 11, "labels": "predicted"
    }  # fmt: skip
    good = decompose(CNN, folder, tmp_path / "good.h5", **words)
    bad = int(good["image"][8])
    (folder / f"{bad:02}.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="1 of 24 images failed"):
        decompose(CNN, folder, tmp_path / "bad.h5", **words)
    found = decompose(CNN, folder, tmp_path / "bad.h5", on_bad_image="skip", **words)
    rest = np.arange(24) != 8
    np.testing.assert_array_equal(found["draw"], good["draw"][rest])
    np.testing.assert_array_equal(found.coalitions(), good.coalitions()[rest])
    np.testing.assert_allclose(found["phi_image"], good["phi_image"][rest], atol=1e-4)
    assert found["failed"].tolist() == [bad]
    more = extend(tmp_path / "bad.h5", budget=24 * 20)
    assert more["failed"].tolist() == [bad]
    assert more["pairs"].max() == 2


def test_unbiased_over_seeds(table: Archive) -> None:
    """The whole of it on real worths: what the archive would say, averaged over seeds."""
    phi = shapley_values(table.worth())
    means = []
    for seed in range(400):
        order = draw_order(table["label"], 40, seed)[:18]
        design, draws = PairedDesign(6, seed), np.arange(18)
        masks = np.array([design.coalitions(d, 0, 12) for d in range(18)]).astype(np.int64)
        forward, backward = design.gains(table.worth()[order[:, None], masks], draws, 0, 1)
        means.append(((forward + backward) / 2).mean(axis=0))
    error = np.mean(means, axis=0) - phi.mean(axis=0)
    assert (np.abs(error) <= 3 * np.std(means, axis=0, ddof=1) / 20).all()

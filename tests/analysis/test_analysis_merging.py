"""Merging archives: the same as one run over all images, and nothing else is let in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

import iaside_onnx
from iaside_onnx import Archive, merge
from iaside_onnx.archive import digest_of
from iaside_onnx.errors import ArchiveError, OptionError, RunConflictError
from tests.support.command import in_process
from tests.support.comparing import assert_nothing_left
from tests.support.sampling import MODELS, PICTURES

CNN = MODELS / "fashion-cnn.onnx"
WORDS: dict[str, Any] = {"bands": 4}
SAMPLE: dict[str, Any] = {**WORDS, "method": "sampled", "budget": 90}


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images in two files, and their archives: all coalitions, and a sample."""
    folder = tmp_path_factory.mktemp("halves")
    with np.load(PICTURES) as bundled:
        images, labels = bundled["images"][:40], bundled["labels"][:40]
    for name, rows in (("a", slice(0, 17)), ("b", slice(17, 40)), ("all", slice(0, 40))):
        source = folder / f"{name}.npz"
        np.savez(source, images=images[rows], labels=labels[rows])
        iaside_onnx.decompose(CNN, source, folder / f"{name}.h5", **WORDS)
        iaside_onnx.decompose(CNN, source, folder / f"{name}-sample.h5", **SAMPLE)
    return folder


def made(folder: Path, target: Path, **options: Any) -> Archive:
    """The archive of the second half, made otherwise."""
    words = {**WORDS, **options}
    return iaside_onnx.decompose(CNN, folder / "b.npz", target, **words)


def edited(archive: Path, target: Path, **attributes: Any) -> Path:
    """A copy whose attributes somebody has changed and signed."""
    shutil.copy(archive, target)
    with h5py.File(target, "r+") as file:
        file.attrs.update(attributes)
        file.attrs["digest"] = digest_of(file)
    return target


def test_two_halves_are_the_whole(halves: Path, tmp_path: Path) -> None:
    """Images in another order, or means and intervals over one of the halves."""
    merged = merge([halves / "a.h5", halves / "b.h5"], tmp_path / "c.h5")
    whole = iaside_onnx.open_archive(halves / "all.h5")
    assert merged.names == whole.names
    for name in set(whole.names) - {"image_id"}:
        if whole[name].dtype.kind == "f":
            # Batches are cut elsewhere.
            np.testing.assert_allclose(
                merged[name], whole[name], rtol=1e-4, atol=1e-5, err_msg=name
            )
        else:
            np.testing.assert_array_equal(merged[name], whole[name], err_msg=name)
    assert merged.metadata.accuracy == whole.metadata.accuracy
    assert merged.metadata.images_done == 40
    assert iaside_onnx.verify(tmp_path / "c.h5").problems == []
    assert_nothing_left(tmp_path / "c.h5")
    parts = merged.metadata.options["given"]["parts"]
    assert [part["offset"] for part in parts] == [0, 17]
    assert [part["given"]["images"] for part in parts] == [str(halves / f"{n}.npz") for n in "ab"]
    assert [part["digest"] for part in parts] == [
        iaside_onnx.open_archive(halves / f"{n}.h5").metadata.digest for n in "ab"
    ]


def test_samples_keep_what_belongs_to_each_image(halves: Path, tmp_path: Path) -> None:
    """Rows of a part with fewer slots are shifted, or worths and coalitions fall apart."""
    made(halves, tmp_path / "b.h5", **{**SAMPLE, "budget": 300})
    paths = [halves / "a-sample.h5", tmp_path / "b.h5"]
    merged = merge(paths, tmp_path / "c.h5")
    assert iaside_onnx.verify(tmp_path / "c.h5").problems == []
    a, b = map(iaside_onnx.open_archive, paths)
    assert a["worth"].shape[1] < b["worth"].shape[1] == merged["worth"].shape[1]
    n = a["image"].size
    for part, rows in ((a, slice(0, n)), (b, slice(n, None))):
        used = part["worth"].shape[1]
        np.testing.assert_array_equal(merged.worth()[rows, :used], part.worth())
        np.testing.assert_array_equal(merged.coalitions()[rows, :used], part.coalitions())
        assert np.isnan(merged.worth()[rows, used:]).all()
        np.testing.assert_array_equal(merged["phi_image"][rows], part["phi_image"])
    np.testing.assert_allclose(merged["phi"], merged["phi_image"].mean(0), rtol=1e-12)
    assert merged.metadata.sample is not None
    assert a.metadata.sample is not None
    assert b.metadata.sample is not None
    assert merged.metadata.sample["evaluations"] == (
        a.metadata.sample["evaluations"] + b.metadata.sample["evaluations"]
    )


def test_images_of_one_permutation_count_as_one(halves: Path, tmp_path: Path) -> None:
    """Two samples of one seed draw the same permutations: their images err together."""
    merged = merge([halves / "a-sample.h5", halves / "b-sample.h5"], tmp_path / "c.h5")
    phi, draw = merged["phi_image"], merged["draw"]
    assert np.unique(draw).size < draw.size
    deviations = phi - phi.mean(0)
    sums = np.stack([deviations[draw == place].sum(0) for place in np.unique(draw)])
    count, n = len(sums), len(phi)
    expected = np.sqrt(count / (count - 1) * (sums**2).sum(0)) / n
    np.testing.assert_allclose(merged["phi_se"], expected, rtol=1e-9)


@pytest.mark.slow
def test_three_parts_and_a_merged_one(halves: Path, tmp_path: Path) -> None:
    """Offsets that overlap from the third part on."""
    with np.load(PICTURES) as bundled:
        np.savez(
            tmp_path / "d.npz", images=bundled["images"][40:45], labels=bundled["labels"][40:45]
        )
    iaside_onnx.decompose(CNN, tmp_path / "d.npz", tmp_path / "d.h5", **WORDS)
    merge([halves / "a.h5", halves / "b.h5"], tmp_path / "ab.h5")
    paths = [tmp_path / "d.h5", halves / "a.h5", halves / "b.h5"]
    flat = merge(paths, tmp_path / "flat.h5")
    nested = merge([tmp_path / "d.h5", tmp_path / "ab.h5"], tmp_path / "nested.h5")
    for archive in (flat, nested):
        np.testing.assert_array_equal(archive["image"], np.arange(45))
    np.testing.assert_array_equal(flat["worth"], nested["worth"])
    assert flat["sis"] == nested["sis"]


def test_images_that_failed_come_along(halves: Path, tmp_path: Path) -> None:
    """Positions of failed images that are those of others, or a count that hides them."""
    with np.load(halves / "b.npz") as arrays:
        images, labels = arrays["images"] / np.float32(255), arrays["labels"]
    images[3] = np.nan
    np.savez(tmp_path / "b.npz", images=images, labels=labels)
    words: dict[str, Any] = {**WORDS, "on_bad_image": "skip"}
    iaside_onnx.decompose(CNN, tmp_path / "b.npz", tmp_path / "b.h5", **words)
    merged = merge([halves / "a.h5", tmp_path / "b.h5"], tmp_path / "c.h5")
    assert merged["failed"].tolist() == [20]
    assert merged.metadata.images_failed == 1
    assert merged.metadata.images_asked == 40
    assert 20 not in merged["image"]


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "bands": ({"bands": 5}, "differs in: bands (4 there, 5 now)"),
    "baseline": ({"baseline": "mean"}, 'baseline ("zero" there, "mean" now)'),
    "seed": ({"seed": 3}, "seed (0 there, 3 now)"),
    "labels": ({"labels": "predicted"}, 'where labels come from ("given" there, "predicted" now)'),
    "method": (SAMPLE, 'method ("exact" there, "sampled" now)'),
    "batch size": ({"batch_size": 7}, "batch_size (32 there, 7 now)"),
    "preprocessing": ({"preprocess": {"mean": [0.1], "std": [0.5]}}, "preprocess.mean ("),
}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(name, marks=[] if name in ("bands", "preprocessing") else pytest.mark.slow)
        for name in OTHERS
    ],
)
def test_other_options_are_refused(other: str, halves: Path, tmp_path: Path) -> None:
    """Contributions of two different games are averaged."""
    options, says = OTHERS[other]
    made(halves, tmp_path / "b.h5", **options)
    with pytest.raises(RunConflictError) as caught:
        merge([halves / "a.h5", tmp_path / "b.h5"], tmp_path / "c.h5")
    assert says in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.h5"]


def test_another_model_is_refused(halves: Path, tmp_path: Path) -> None:
    """An archive that is about no model at all."""
    noisy = MODELS / "fashion-cnn-noise.onnx"
    iaside_onnx.decompose(noisy, halves / "b.npz", tmp_path / "b.h5", **WORDS)
    with pytest.raises(RunConflictError, match="differs in: the model"):
        merge([halves / "a.h5", tmp_path / "b.h5"], tmp_path / "c.h5")


def test_an_image_that_is_in_two_is_refused(halves: Path, tmp_path: Path) -> None:
    """It counts twice, and intervals are too narrow; under whichever name."""
    with pytest.raises(RunConflictError, match=r"its image 00 is in .*a\.h5 too, as 00"):
        merge([halves / "a.h5", halves / "all.h5"], tmp_path / "c.h5")
    with pytest.raises(RunConflictError, match="is in"):
        merge([halves / "a.h5", halves / "b.h5", halves / "a.h5"], tmp_path / "c.h5")


def test_intervals_about_own_images_are_refused(halves: Path, tmp_path: Path) -> None:
    """They say how far a part's images are known, which the merged ones are not."""
    made(halves, tmp_path / "b.h5", inference="sample")
    with pytest.raises(RunConflictError, match="about the images of its own source alone"):
        merge([halves / "a.h5", tmp_path / "b.h5"], tmp_path / "c.h5")


def test_class_numbers_must_mean_the_same(tmp_path: Path) -> None:
    """Folders are numbered in each source for itself: class 0 is a cat here and a dog there."""
    rng = np.random.default_rng(0)
    for part, folder in (("a", "cat"), ("b", "dog")):
        (tmp_path / part / folder).mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / part / folder / f"{number}.png")
        iaside_onnx.decompose(
            CNN, tmp_path / part, tmp_path / f"{part}.h5", classes="in-order", **WORDS
        )
    with pytest.raises(RunConflictError, match="class 0 is the folder 'dog' here and 'cat' there"):
        merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "c.h5")
    (tmp_path / "b.h5").unlink()
    iaside_onnx.decompose(
        CNN, tmp_path / "b", tmp_path / "b.h5", classes={"dog": 5, "cat": 0}, **WORDS
    )
    merged = merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "c.h5")
    assert dict(zip(merged["class_folder"], merged["class_folder_index"], strict=True)) == {
        "cat": 0, "dog": 5,
    }  # fmt: skip


def test_what_a_merged_archive_cannot_do_is_said(halves: Path, tmp_path: Path) -> None:
    """There is no one source of images to go back to."""
    merge([halves / "a-sample.h5", halves / "b-sample.h5"], tmp_path / "c.h5")
    with pytest.raises(ArchiveError, match="is merged from several"):
        iaside_onnx.extend(tmp_path / "c.h5", budget=10_000)
    with pytest.raises(ArchiveError, match="is merged from several"):
        iaside_onnx.verify(tmp_path / "c.h5", sample=5)
    with pytest.raises(RunConflictError, match="merged"):
        iaside_onnx.decompose(CNN, halves / "all.npz", tmp_path / "c.h5", **SAMPLE)


def test_the_command(halves: Path, tmp_path: Path) -> None:
    """The table of the merged archive; and nothing is overwritten unasked."""
    parts = [halves / "a.h5", halves / "b.h5"]
    outcome = in_process("merge", *parts, "-o", tmp_path / "c.h5")
    outcome.succeeds()
    assert "40 of 40" in outcome.out
    in_process("merge", *parts, "-o", tmp_path / "c.h5").fails("is there already; add --overwrite")
    assert_nothing_left(tmp_path / "c.h5")
    in_process("merge", *parts, "-o", tmp_path / "c.h5", "--overwrite").succeeds()
    in_process("merge", parts[0], "-o", tmp_path / "d.h5").fails("at least two", code=2)
    in_process("merge", *parts, "-o", tmp_path / "d.txt").fails("end its name in .h5", code=2)
    in_process("merge", *parts, "-o", parts[0]).fails("is one of the inputs", code=2)
    in_process("merge", *parts, "-o", tmp_path / "no" / "c.h5").fails("its folder does not exist")
    (tmp_path / "f.h5").mkdir()
    in_process("merge", *parts, "-o", tmp_path / "f.h5").fails("is a folder")
    (tmp_path / "f.h5").rmdir()
    in_process("merge", parts[0], CNN, "-o", tmp_path / "d.h5").fails("not an HDF5 file")
    json.loads(in_process("merge", *parts, "-o", tmp_path / "e.h5", "--json").out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.h5", "e.h5"]


def test_what_is_damaged_is_not_signed_anew(halves: Path, tmp_path: Path) -> None:
    """The merged archive is whole by its own digest, whatever it was made from."""
    shutil.copy(halves / "b.h5", tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file["label"][...] = file["predicted"][()]
    with pytest.raises(ArchiveError, match="cannot be merged: the digest is"):
        merge([halves / "a.h5", tmp_path / "b.h5"], tmp_path / "c.h5")


def test_what_was_drawn_for_each_part_is_said(halves: Path, tmp_path: Path) -> None:
    """One run over all images would have drawn other partners, or other noise."""
    for part in ("a", "b"):
        words: dict[str, Any] = {**WORDS, "baseline": "complement"}
        iaside_onnx.decompose(CNN, halves / f"{part}.npz", tmp_path / f"{part}.h5", **words)
    merged = merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "c.h5")
    assert "the baseline complement was drawn for each part by itself" in merged.metadata.notes


def test_an_edited_sample_is_refused(halves: Path, tmp_path: Path) -> None:
    """A sum with text in it is a traceback."""
    sample = json.dumps({"evaluations": "many", "images": 23})
    path = edited(halves / "b-sample.h5", tmp_path / "b.h5", sample=sample)
    with pytest.raises(ArchiveError, match="'sample' does not say how far the run went"):
        merge([halves / "a-sample.h5", path], tmp_path / "c.h5")
    with pytest.raises(OptionError, match="at least two"):
        merge([path], tmp_path / "c.h5")

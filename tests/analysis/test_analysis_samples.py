"""What a sampled archive says of how far its run went, against its images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iaside_onnx
from iaside_onnx import Archive
from tests.support.command import CNN, PICTURES
from tests.support.editing import edited

BANDS = 4
# A pair of 4 bands has 3 prefixes of the permutation and 3 of its reverse, and the whole image. The
# black baseline is evaluated once for all images, and counts in none.
FIRST = 7


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Twenty images with a pair each, and some with a second one."""
    path = tmp_path_factory.mktemp("sampled") / "a.h5"
    options: dict[str, Any] = {"method": "sampled", "bands": BANDS, "limit": 20, "budget": 180}
    return iaside_onnx.decompose(CNN, PICTURES, path, **options)


def changing(**changes: object) -> Callable[[Any], object]:
    """Changes keys of the attribute; None removes one."""

    def edit(file: Any) -> None:
        sample = {**json.loads(file.attrs["sample"]), **changes}
        kept = {name: value for name, value in sample.items() if value is not None}
        file.attrs["sample"] = json.dumps(kept)

    return edit


def remove(file: Any) -> None:
    del file.attrs["sample"]


def set_pairs(file: Any) -> None:
    file["pairs"][0] = 3 - file["pairs"][0]


def set_draws(file: Any) -> None:
    file["draw"][1] = file["draw"][0]


def repeat_image(file: Any) -> None:
    for name in ("image_id", "image_sha256"):
        file[name][1] = file[name][0]


EDITS: dict[str, tuple[Callable[[Any], object], str]] = {
    "no sample": (remove, "it is missing"),
    "no evaluations": (changing(evaluations=None), "it lacks numbers"),
    "text": (changing(images="20"), "it lacks numbers"),
    "evaluations": (changing(evaluations=77), "says 77 evaluations, where its rounds take"),
    "images": (changing(images=19), "says 19 images, and the options 20"),
    "no rounds": (changing(rounds=None), "its 'rounds' are not those of a run"),
    "a round inside a block": (changing(rounds=[1, 24]), "its 'rounds' are not"),
    "rounds that go back": (changing(rounds=[24, 12]), "its 'rounds' are not"),
    "rounds beyond the end": (changing(rounds=[20, 10**9]), "its 'rounds' are not"),
    "fewer rounds": (changing(rounds=[20]), "the numbers of pairs are not those"),
    "fewer images": (changing(rounds=[8]), "end at 8 steps, not at 20 images"),
    "more rounds": (changing(rounds=[20, 28, 40]), "the numbers of pairs are not those"),
    "shifts": (changing(shifts=[0, 1, 2, 3]), "does not describe the method"),
    "no shifts": (changing(shifts=None), "does not describe the method"),
    "pairs": (set_pairs, "the numbers of pairs are not those"),
    "draws": (set_draws, "twice, or one that was not drawn"),
    "one image twice": (repeat_image, "one image is there twice"),
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_what_was_edited_and_signed_is_not_well(
    what: str, sampled: Archive, tmp_path: Path
) -> None:
    """An extension begins elsewhere than the run ended, and signs the result."""
    edit, says = EDITS[what]
    problems, _ = iaside_onnx.analysis.check(edited(sampled.path, tmp_path, edit, sign=True))
    assert any(says in problem for problem in problems), problems


def test_what_a_run_writes_is_well(sampled: Archive) -> None:
    """The numbers are those that follow from the method by hand."""
    sample = sampled.metadata.sample
    assert sample is not None
    pairs = sampled["pairs"]
    assert set(pairs.tolist()) == {1, 2}
    later = second_pass(sampled) * int((pairs == 2).sum())
    assert sample["evaluations"] == FIRST * pairs.size + later
    assert sample["rounds"][-1] == int(pairs.sum())
    assert iaside_onnx.analysis.check(sampled.path)[0] == []


def second_pass(archive: Archive) -> int:
    """Coalitions of an image with two pairs that one with a single pair does not have."""
    masks, pairs = archive["coalition"], archive["pairs"]
    two = set(masks[pairs == 2][0].tolist())
    return len(two) - len(set(masks[pairs == 1][0].tolist()) | {0})


def test_a_table_of_all_coalitions_has_no_sample(bundled_archive: Archive, tmp_path: Path) -> None:
    """Such an archive would be shown as a sample."""

    def edit(file: Any) -> None:
        file.attrs["sample"] = json.dumps({"evaluations": 5, "images": 5})

    problems, _ = iaside_onnx.analysis.check(
        edited(bundled_archive.path, tmp_path, edit, sign=True)
    )
    assert problems == ["the attribute 'sample' is there, but the method exact takes none"]


@pytest.mark.parametrize("words", [
    {"baseline": "noise"}, {"pixel_range": "minmax"}, {"budget": 40}, {"budget": 10**6},
    {"target_se": 0.4}, {"bands": 6, "budget": 500, "limit": 33}, {"inference": "sample"},
])  # fmt: skip
def test_every_run_is_well(words: dict[str, Any], tmp_path: Path) -> None:
    """Rules that refuse what iaside itself writes, and what extends it."""
    path = tmp_path / "a.h5"
    options: dict[str, Any] = {"method": "sampled", "bands": BANDS, "limit": 20, "budget": 180}
    iaside_onnx.decompose(CNN, PICTURES, path, **{**options, **words})
    assert iaside_onnx.analysis.check(path)[0] == []
    iaside_onnx.extend(path, budget=10**6)
    assert iaside_onnx.analysis.check(path)[0] == []


def test_a_merged_sample_is_checked(tmp_path: Path) -> None:
    """Sums of evaluations that no images took."""
    with np.load(PICTURES) as data:
        images, labels = data["images"][:24], data["labels"][:24]
    parts = []
    for number, rows in enumerate((slice(0, 12), slice(12, 24))):
        parts.append(tmp_path / f"{number}.h5")
        iaside_onnx.decompose(
            CNN, images[rows], parts[-1], labels=labels[rows], method="sampled", bands=BANDS,
            budget=60 + 80 * number,
        )  # fmt: skip
    merged = iaside_onnx.merge(parts, tmp_path / "c.h5")
    assert iaside_onnx.analysis.check(merged.path)[0] == []
    sample = merged.metadata.sample
    assert sample is not None
    for wrong in (sample["evaluations"] - 1, sample["evaluations"] + 1):
        path = edited(merged.path, tmp_path, changing(evaluations=wrong), sign=True)
        problems, _ = iaside_onnx.analysis.check(path)
        assert [f"says {wrong} evaluations" in problem for problem in problems] == [True]

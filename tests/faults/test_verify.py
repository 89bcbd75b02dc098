"""What `iaside verify` must find: every change of what is read from an archive."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iaside_onnx
from iaside_onnx.analysis import check
from tests.support.command import CNN, PICTURES, in_process
from tests.support.editing import edited


def test_a_whole_archive_is_well(original: Path) -> None:
    """Otherwise what is found below could be found everywhere."""
    found = iaside_onnx.verify(original)
    assert found.problems == []
    assert found.checked == ["schema", "checksums", "digest", "arithmetic"]
    outcome = in_process("verify", original)
    outcome.succeeds()
    digest = found.archive.metadata.digest
    assert f"digest     {digest}" in outcome.out
    assert f"digest     {digest}" in in_process("show", original).out


def set_attribute(file: Any) -> None:
    file.attrs["model_name"] = "another.onnx"


def set_note(file: Any) -> None:
    file.attrs["notes"] = json.dumps(["all is well"])


def set_id(file: Any) -> None:
    file["image_id"][0] = file["image_id"][1]


def set_label(file: Any) -> None:
    file["label"][3] = 7


def drop_digest(file: Any) -> None:
    del file.attrs["digest"]


@pytest.mark.parametrize("edit", [set_attribute, set_note, set_id, set_label])
def test_a_change_is_found_by_the_digest(
    edit: Callable[[Any], object], original: Path, tmp_path: Path
) -> None:
    """HDF5's own checksums are of chunks as they are written, so an edit has the right ones."""
    outcome = in_process("verify", edited(original, tmp_path, edit, sign=False))
    assert outcome.code == 1
    assert "a value or an attribute changed" in outcome.out


def test_an_archive_without_a_digest_says_so(original: Path, tmp_path: Path) -> None:
    """Then metadata may have been changed, and nobody would know."""
    found = iaside_onnx.verify(edited(original, tmp_path, drop_digest, sign=False))
    assert ["there is no digest" in problem for problem in found.problems] == [True]


def set_worth(file: Any) -> None:
    file["worth"][2, 3] = file["worth"][2, 3] + 0.01


def set_phi(file: Any) -> None:
    file["phi"][1] = file["phi"][1] * 1.001


def set_sis(file: Any) -> None:
    file["sis_high"][...] = file["sis_high"][()] + 1e-4


def add_table(file: Any) -> None:
    file["more"] = np.arange(3)


def add_attribute(file: Any) -> None:
    file.attrs["approved"] = "yes"


def swap_scale(file: Any) -> None:
    file["phi"].dims[0].detach_scale(file["band"])


def set_accuracy(file: Any) -> None:
    file.attrs["accuracy"] = 1.0


def set_count(file: Any) -> None:
    file.attrs["images_asked"] = 1000


def set_runtime(file: Any) -> None:
    file.attrs["provider"] = "CUDAExecutionProvider"


def set_time(file: Any) -> None:
    file.attrs["started"] = "yesterday"


def set_preprocess(file: Any) -> None:
    options = json.loads(file.attrs["options"])
    options["resolved"]["preprocess"] = {"mean": "none"}
    file.attrs["options"] = json.dumps(options)
    file.attrs["preprocess"] = json.dumps({"mean": "none"})


def set_edges(file: Any) -> None:
    file["band_low"][2] = 0.4


def set_coalition(file: Any) -> None:
    values = file["coalition"][()]
    values[..., [2, 3]] = values[..., [3, 2]]
    file["coalition"][...] = values


def set_image(file: Any) -> None:
    file["image"][1] = file["image"][0]


def set_hash(file: Any) -> None:
    file["image_sha256"][2] = b"ab"


def set_whole(file: Any) -> None:
    file["log_probability_whole"][4] = -1e-4


def set_empty(file: Any) -> None:
    file["log_probability_empty"][4] = -5


def set_above(file: Any) -> None:
    file["worth"][2, 3] = 50


def set_infinite(file: Any) -> None:
    file["worth"][2, 3] = -np.inf


def set_floored(file: Any) -> None:
    file["floored"][0] = 999


def set_uniform(file: Any) -> None:
    file.attrs["uniform"] = 1


def set_smallest(file: Any) -> None:
    file.attrs["smallest_bands"] = "[0, 3]"


def drop_checksums(file: Any) -> None:
    values = file["label"][()]
    file.attrs["kept"] = file["label"].attrs["long_name"]
    del file["label"]
    file["label"] = values
    file["label"].attrs["long_name"] = file.attrs["kept"]
    file["label"].attrs["units"] = "1"
    file["label"].dims[0].attach_scale(file["image"])
    del file.attrs["kept"]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (set_worth, "phi_image does not follow from the worths for 1 of"),
        (set_phi, "phi does not follow from phi_image"),
        (set_sis, "sis_high does not follow from phi_image"),
        (add_table, "'more' is in the file, but not in the schema"),
        (add_attribute, "the attribute 'approved' is in the file"),
        (set_accuracy, "the accuracy is 1.0, where"),
        (set_count, "images asked, done and failed are (1000, "),
        (set_runtime, "the attribute 'provider' is not what the options say"),
        (set_time, "the attribute 'started' is not a time: 'yesterday'"),
        (set_preprocess, "the attribute 'preprocess' cannot be used"),
        (set_edges, "are not those of 4 linear bands"),
        (set_coalition, "coalition"),
        (set_image, "'image' holds a position twice"),
        (set_hash, "not a SHA-256: 'ab'"),
        (set_whole, "'log_probability_whole' is not the worth"),
        (set_empty, "'log_probability_empty' is not the worth"),
        (set_above, "a worth is not a log-probability"),
        (set_infinite, "a worth is not a log-probability"),
        (set_floored, "'floored' counts more worths than there are"),
        (set_uniform, "uniform does not follow"),
        (set_smallest, "smallest does not follow"),
        (swap_scale, "axis 0 of 'phi' has the scales [], not 'band'"),
        (drop_checksums, "the variable 'label' has no checksums"),
    ],
)
def test_a_change_that_was_signed_is_found_by_what_it_means(
    edit: Callable[[Any], object], says: str, original: Path, tmp_path: Path
) -> None:
    """A digest can be made again by anybody; numbers that do not add up stay so."""
    problems, _ = check(edited(original, tmp_path, edit, sign=True))
    assert [says in problem for problem in problems] == [True], problems


def test_intervals_about_these_images_are_worked_out_again(tmp_path: Path) -> None:
    """They take how many images there are, which no array of the archive says."""
    path = tmp_path / "a.h5"
    for words in ({}, {"method": "sampled", "budget": 400}):
        options: dict[str, Any] = {"limit": 40, "bands": 4, "inference": "sample", **words}
        iaside_onnx.decompose(CNN, PICTURES, path, overwrite=True, **options)
        assert check(path)[0] == []
        problems, _ = check(edited(path, tmp_path, set_sis, sign=True))
        assert ["sis_high does not follow" in problem for problem in problems] == [True]


def test_numbers_that_no_design_has_are_named(tmp_path: Path) -> None:
    """An index that is out of bounds, somewhere in NumPy, is no answer."""

    def set_pairs(file: Any) -> None:
        file["pairs"][0] = 99

    path = tmp_path / "a.h5"
    iaside_onnx.decompose(CNN, PICTURES, path, limit=20, bands=4, method="sampled", budget=180)
    found = iaside_onnx.verify(edited(path, tmp_path, set_pairs, sign=True))
    assert ["its numbers do not fit" in problem for problem in found.problems] == [True]

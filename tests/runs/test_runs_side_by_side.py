"""Several runs in one process, and what they must leave as it was; options as users give them."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import iaside_onnx
from iaside_onnx.archive import Recipe, describe_differences
from iaside_onnx.errors import OptionError, RunConflictError
from tests.runs.running import CNN, PICTURES, assert_same_results, bundled_pictures
from tests.support.command import in_process


@pytest.mark.parametrize("workers", [1, 2])
def test_runs_in_threads_leave_the_process_as_it_was(workers: int, tmp_path: Path) -> None:
    """Whatever the program prints later is lost, or its children look for modules elsewhere."""
    before = sys.stdout, os.environ.get("PYTHONSAFEPATH"), vars(sys.modules["__main__"]).copy()
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            iaside_onnx.decompose(
                CNN, PICTURES, tmp_path / f"{number}.h5", bands=2, limit=4, threads=1,
                workers=workers,
            )  # fmt: skip
        except BaseException as error:  # noqa: BLE001  # told by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    after = sys.stdout, os.environ.get("PYTHONSAFEPATH"), vars(sys.modules["__main__"])
    assert after == before
    for number in (1, 2):
        assert_same_results(tmp_path / "0.h5", tmp_path / f"{number}.h5")


def test_any_mapping_of_classes_reaches_workers(tmp_path: Path) -> None:
    """A mapping that cannot be pickled is a traceback, but only with workers."""
    source = bundled_pictures(tmp_path / "a.npz")
    classes = MappingProxyType({"zero": 0, "one": 1})
    words: dict[str, Any] = {"bands": 2, "threads": 1, "classes": classes}
    iaside_onnx.decompose(CNN, source, tmp_path / "a.h5", workers=2, **words)
    (tmp_path / "classes.json").write_text(json.dumps(dict(classes)), encoding="utf-8")
    words["classes"] = str(tmp_path / "classes.json")
    iaside_onnx.decompose(CNN, source, tmp_path / "b.h5", **words)
    assert_same_results(tmp_path / "a.h5", tmp_path / "b.h5")


def test_workers_without_threads_are_another_run(tmp_path: Path) -> None:
    """Each has fewer threads, which is another recipe, finished or not."""
    words: dict[str, Any] = {"bands": 2, "limit": 4}
    iaside_onnx.decompose(CNN, PICTURES, tmp_path / "a.h5", **words)
    with pytest.raises(RunConflictError, match=r"differs in: threads \(\"all usable cores\" there"):
        iaside_onnx.decompose(CNN, PICTURES, tmp_path / "a.h5", workers=2, **words)


def test_a_finished_run_says_that_images_were_skipped(tmp_path: Path) -> None:
    """Whoever asks for an error gets none, as an earlier command skipped the images."""
    (tmp_path / "images").mkdir()
    for number in range(3):
        data = (Path(__file__).parents[2] / "docs" / "bundled-models.svg").read_bytes()
        (tmp_path / "images" / f"{number}.png").write_bytes(data)
    from PIL import Image

    for number in (1, 2):
        Image.new("L", (28, 28), 40 * number).save(tmp_path / "images" / f"{number}.png")
    words = ("decompose", CNN, "--images", tmp_path / "images", "-o", tmp_path / "a.h5")
    options = ("--bands", "2", "--labels", "predicted")
    in_process(*words, *options, "--on-bad-image", "skip").succeeds()
    again = in_process(*words, *options)
    again.succeeds()
    assert "1 of its images failed, and were skipped when it was made" in again.err


def test_conversion_takes_paths(tmp_path: Path) -> None:
    """`AttributeError: 'str' object has no attribute 'schema'`."""
    iaside_onnx.decompose(CNN, PICTURES, tmp_path / "a.h5", bands=2, limit=4)
    iaside_onnx.convert(str(tmp_path / "a.h5"), str(tmp_path / "a.csv"), "bands")
    lines = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    with pytest.raises(OptionError, match="end its name in"):
        iaside_onnx.convert(str(tmp_path / "a.h5"), str(tmp_path / "a.xyz"))


def test_differences_go_into_mappings() -> None:
    """Both values are cut off before they begin to differ, and look the same."""
    ours = {"preprocess": {"input_size": [1, 28, 28], "interpolation": "bilinear", "mean": [0.1]}}
    theirs = {"preprocess": {**ours["preprocess"], "mean": [0.2]}}
    assert describe_differences(ours, theirs) == "preprocess.mean ([0.2] there, [0.1] now)"
    assert describe_differences(ours, theirs, ["preprocess"]) == ""


@pytest.mark.parametrize("data", [None, [], 3, "text"])
def test_what_is_no_recipe_is_a_value_error(data: Any) -> None:
    """The caller asked for a `ValueError` and gets an `AttributeError`."""
    with pytest.raises(ValueError, match="a recipe is an object"):
        Recipe.from_json(data)

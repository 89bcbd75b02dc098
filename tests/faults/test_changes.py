"""Models, images and clocks that change while a run goes on."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import iaside_onnx
from iaside_onnx.errors import ImageError, ModelError, RunConflictError
from iaside_onnx.runs import LogProgress
from iaside_onnx.runtime.session import open_session
from tests.support.bad_case import graph, pixels, save_images, save_model, save_wide
from tests.support.command import in_process
from tests.support.comparing import assert_nothing_left, assert_same

# 8 coalitions an image, and 64 images a shard: two shards, of which the second is smaller.
IMAGES = 100
WORDS: dict[str, Any] = {"bands": 3, "batch_size": 8}


class At(LogProgress):
    """Calls an action when a number of images is finished."""

    def __init__(self, images: int, action: Callable[[], object]) -> None:
        super().__init__()
        self._left, self._action = images, action

    def advance(self, images: int) -> None:
        """Count."""
        self._left -= images
        if self._left <= 0 < self._left + images:
            self._action()


class Counting(LogProgress):
    """Keeps how many images were finished before the run."""

    finished = -1

    def begin(self, images: int, finished: int, evaluations: int) -> None:
        """Remember."""
        super().begin(images, finished, evaluations)
        self.finished = finished


def save_outside(folder: Path, scale: float = 1.0) -> None:
    """A model that keeps its weights in a file beside it."""
    model = graph()
    (weights,) = model.graph.initializer
    values = onnx.numpy_helper.to_array(weights) * np.float32(scale)
    (folder / "weights.bin").write_bytes(values.tobytes())
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    save_model(folder, model)


@pytest.fixture
def many(folder: Path) -> Path:
    """A folder with a model, its weights beside it, and images of two shards."""
    save_outside(folder)
    save_images(folder, images=pixels(IMAGES), labels=np.arange(IMAGES) % 5)
    return folder


def run(output: str = "out.h5", **words: Any) -> iaside_onnx.Archive:
    return iaside_onnx.decompose("model.onnx", "images.npz", output, **{**WORDS, **words})


def rewrite(folder: Path) -> None:
    """Write into the file of weights, which ONNX Runtime may have mapped."""
    with (folder / "weights.bin").open("r+b") as file:
        file.write(np.full(320, 2, dtype=np.float32).tobytes())


@pytest.mark.parametrize("options", [{}, {"method": "sampled"}], ids=["exact", "sampled"])
def test_weights_that_change_during_the_run_are_named(many: Path, options: Any) -> None:
    """Worths of two models in one archive, under the hash of the first."""
    run("undisturbed.h5", **options)
    before = (many / "weights.bin").read_bytes()
    with pytest.raises(RunConflictError, match=r"weights\.bin: changed during the run"):
        run(progress=At(70, lambda: rewrite(many)), **options)
    with pytest.raises(RunConflictError, match=r"the external data weights\.bin"):
        run(**options)
    (many / "weights.bin").write_bytes(before)
    run(**options)
    assert_same(many / "undisturbed.h5", many / "out.h5")
    assert_nothing_left(many / "out.h5")


def test_a_model_that_is_replaced_is_refused_on_resume(many: Path) -> None:
    """The new model goes on where the old one stopped."""

    def replace() -> None:
        save_outside(many, 2.0)
        save_model(many)

    with pytest.raises(RunConflictError, match=r"model\.onnx: changed during the run"):
        run(progress=At(70, replace))
    with pytest.raises(RunConflictError, match="the model"):
        run()


def test_a_model_that_is_only_touched_is_the_same(many: Path) -> None:
    """A backup or a copy of the same bytes costs a run."""

    def touch() -> None:
        data = (many / "model.onnx").read_bytes()
        (many / "copy.onnx").write_bytes(data)
        (many / "copy.onnx").replace(many / "model.onnx")
        os.utime(many / "weights.bin", (0, 0))

    run(progress=At(70, touch))
    run("undisturbed.h5")
    assert_same(many / "undisturbed.h5", many / "out.h5")


def test_a_model_that_changes_while_it_is_loaded(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is hashed and archived is not what is run."""
    real = open_session

    def slow(*args: Any, **words: Any) -> Any:
        save_outside(many, 3.0)
        return real(*args, **words)

    monkeypatch.setattr("iaside_onnx.runtime.classifier.open_session", slow)
    with pytest.raises(ModelError, match="changed while it was read"):
        run()
    assert not list(many.glob("out.h5*"))


@pytest.fixture
def photos(folder: Path) -> Path:
    """Files of images, in a folder."""
    place = folder / "photos"
    place.mkdir()
    for number, image in enumerate(pixels(IMAGES)):
        Image.fromarray(image).save(place / f"{number:03}.png")
    return place


def over(photos: Path, output: str = "out.h5", **words: Any) -> iaside_onnx.Archive:
    words = {**WORDS, "labels": "predicted", **words}
    return iaside_onnx.decompose("model.onnx", photos, photos.parent / output, **words)


def test_an_image_that_disappears_is_named_and_costs_its_shard(photos: Path) -> None:
    """Everything else is lost, or the image is left out in silence."""
    over(photos, "undisturbed.h5")
    lost = photos / "097.png"
    data = lost.read_bytes()
    with pytest.raises(ImageError, match=r"1 of 100 images failed, the first is image 097\.png"):
        over(photos, progress=At(5, lost.unlink))
    with pytest.raises(RunConflictError, match="the number of images"):
        over(photos)
    lost.write_bytes(data)
    seen = Counting()
    over(photos, progress=seen)
    assert seen.finished == 64
    assert_same(photos.parent / "undisturbed.h5", photos.parent / "out.h5")


def test_an_image_that_changes_between_two_passes_is_named(photos: Path) -> None:
    """Coalitions of two images are put together as one game."""
    words: dict[str, Any] = {"method": "sampled", "budget": IMAGES * 17}
    over(photos, "undisturbed.h5", **words)
    changed = photos / "042.png"
    before = changed.read_bytes()
    other = Image.fromarray(255 - pixels(IMAGES)[42])
    with pytest.raises(RunConflictError, match=r"042\.png has changed during the run"):
        over(photos, progress=At(IMAGES, lambda: other.save(changed)), **words)
    with pytest.raises(RunConflictError, match=r"042\.png has changed since"):
        over(photos, **words)
    changed.write_bytes(before)
    over(photos, **words)
    assert_same(photos.parent / "undisturbed.h5", photos.parent / "out.h5")


def test_a_clock_that_goes_backwards_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rate that is negative, a lock or a shard that is taken for old, an extension for done."""
    save_wide(folder)
    words = ["decompose", "model.onnx", "--images", "images.npz", "--method", "sampled"]
    limits = ["--budget", "200"]
    in_process(*words, *limits, "-o", "undisturbed.h5").succeeds()
    in_process("extend", "undisturbed.h5", "--budget", "500").succeeds()
    hours = itertools.count()

    def backwards() -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) - timedelta(hours=next(hours))

    for module in ("assembly", "decomposition"):
        monkeypatch.setattr(
            f"iaside_onnx.runs.{module}.now", lambda: backwards().isoformat(timespec="seconds")
        )
    monkeypatch.setattr("time.time", lambda: backwards().timestamp())
    in_process(*words, *limits, "-o", "out.h5").succeeds()
    for path in folder.iterdir():
        os.utime(path, (backwards().timestamp(),) * 2)
    outcome = in_process("extend", "out.h5", "--budget", "500")
    outcome.succeeds()
    assert "-" not in outcome.err.split("evaluations/s")[0].rsplit(",", 1)[-1]
    assert_same(folder / "undisturbed.h5", folder / "out.h5")
    assert iaside_onnx.verify("out.h5").problems == []
    meta = iaside_onnx.open_archive("out.h5").metadata
    assert meta.finished < meta.started

"""Games share batches and blocks: nothing of one may reach another, in value, order or fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from iaside_onnx import all_coalitions, decompose
from iaside_onnx.errors import EvaluationError, OutOfMemoryError
from iaside_onnx.runtime import (
    Answer,
    Classifier,
    Game,
    Predictor,
    WorthEvaluator,
    load_classifier,
    log_probabilities,
    predictor,
    read_graph,
)
from iaside_onnx.runtime.binding import Binding
from iaside_onnx.spectrum import band_index
from tests.runtime.failing_session import failing, limited
from tests.runtime.filtering import bands_of
from tests.support.onnx_models import Net

RNG = np.random.default_rng(11)
SETS = [
    np.array(sets, dtype=np.uint64)
    for sets in ([0, 1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6], [7], [], [5, 0, 6, 5])
]


def load(folder: Path, **options: Any) -> Classifier:
    path = Net((3, 6, 7), **options).save(folder / "net.onnx")
    return load_classifier(read_graph(path), device="cpu")


def make(classifier: Classifier, size: int, **options: Any) -> WorthEvaluator:
    model = Predictor(
        classifier,
        image_shape=(3, 6, 7),
        scale=np.array([2.0, 3.0, 1.0], dtype=np.float32),
        shift=np.array([-0.5, 0.25, 0.0], dtype=np.float32),
        batch_size=size,
        **options,
    )
    return WorthEvaluator(model, INDEX, 3)


INDEX = band_index(6, 7, 3)
OFFSETS = RNG.random((5, 3, 6, 7), dtype=np.float32)
DIFFERENCES = RNG.normal(scale=0.5, size=(5, 3, 6, 7)).astype(np.float32)
WHOLES = RNG.random((5, 3, 6, 7), dtype=np.float32)
LABELS = [2, None, 0, 4, None]


def games() -> Iterator[Game]:
    for i in range(5):
        # The last has no whole image, and so must have a label.
        whole, label = (None, 1) if i == 4 else (WHOLES[i], LABELS[i])
        yield Game(OFFSETS[i], DIFFERENCES[i], SETS[i], whole, label)


def expected() -> list[tuple[int, int, NDArray[np.float64]]]:
    """Label, prediction and values of each game, each image by itself, in float64."""
    session = onnxruntime.InferenceSession(Net((3, 6, 7)).model().SerializeToString())
    scale, shift = np.array([2.0, 3.0, 1.0]), np.array([-0.5, 0.25, 0.0])

    def log_p(image: NDArray[Any]) -> NDArray[np.float64]:
        pixels = image.astype(np.float64) * scale[:, None, None] + shift[:, None, None]
        (logits,) = session.run(None, {"image": pixels[None].astype(np.float32)})
        z = logits[0].astype(np.float64)
        return np.asarray(z - np.log(np.exp(z).sum()))

    answers = []
    for i, game in enumerate(games()):
        rows = [] if game.whole is None else [log_p(WHOLES[i])]
        predicted = int(rows[0].argmax()) if rows else -1
        label = predicted if game.label is None else game.label
        bands = bands_of(DIFFERENCES[i], INDEX, 3)
        for coalition in SETS[i].tolist():
            present = [b for b in range(3) if coalition >> b & 1]
            rows.append(log_p(OFFSETS[i] + bands[present].sum(axis=0)))
        answers.append((label, predicted, np.array([row[label] for row in rows])))
    return answers


def check(answers: list[Answer]) -> None:
    for answer, (label, predicted, values) in zip(answers, expected(), strict=True):
        assert answer.error is None
        assert (answer.label, answer.predicted) == (label, predicted)
        np.testing.assert_allclose(answer.values, values, rtol=0, atol=2e-5)
        assert not answer.floored.any()


@pytest.mark.parametrize("batch", [1, 2, 3, 8, 19, 64])
@pytest.mark.parametrize("block", [1, 64])
def test_games_of_any_length_share_batches(
    batch: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row would go to the wrong image, or the answer of a whole image to its neighbour."""
    monkeypatch.setattr(predictor, "_MIN_BLOCK_ROWS", block)
    monkeypatch.setattr(predictor, "_BLOCK_BYTES", 1)
    check(list(make(load(tmp_path), batch).evaluate(games())))


@pytest.mark.parametrize("batch", [1, 4, 5])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_static_batch_is_padded(batch: int, layout: str, tmp_path: Path) -> None:
    """What stands in the rest of the last batch would be taken for a result."""
    made = make(load(tmp_path, batch=batch, layout=layout), 32)
    assert made.predictor.batch_size == batch
    for _ in range(2):  # the second time with what the first has left in the buffer
        check(list(made.evaluate(games())))


def test_games_are_taken_as_they_are_needed(tmp_path: Path) -> None:
    """Components of all images of a shard at once would be gigabytes."""
    taken = 0
    bands, side = 3, 64
    index = band_index(side, side, bands)
    image = RNG.random((1, side, side), dtype=np.float32)
    path = Net((1, side, side)).save(tmp_path / "net.onnx")
    model = Predictor(
        load_classifier(read_graph(path), device="cpu"),
        image_shape=image.shape,
        scale=np.ones(1, np.float32),
        shift=np.zeros(1, np.float32),
        batch_size=64,
    )

    def counted() -> Iterator[Game]:
        nonlocal taken
        for _ in range(400):
            taken += 1
            yield Game(image * 0, image, all_coalitions(bands), image, 0)

    # Nine rows a game, and 2 MiB of components.
    ahead = model.rows // 9 + (1 << 21) // (4 * bands * side**2) + 2
    assert ahead < 200
    for given, _ in enumerate(WorthEvaluator(model, index, bands).evaluate(counted())):
        assert taken - given <= ahead


def test_inputs_are_left_as_they_were(tmp_path: Path) -> None:
    """The image of a failed batch, or the partner of another image, would be scaled twice."""
    for layout in ("NCHW", "NHWC"):
        before = OFFSETS.copy(), DIFFERENCES.copy(), WHOLES.copy()
        list(make(load(tmp_path, layout=layout), 4).evaluate(games()))
        for array, copy in zip((OFFSETS, DIFFERENCES, WHOLES), before, strict=True):
            np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("batch", [2, 5, 64])
def test_a_game_of_nan_fails_alone(batch: int, tmp_path: Path) -> None:
    """One broken image would take its neighbours in the batch along, or pass unseen."""
    some = list(games())
    some[1] = Game(OFFSETS[1] * np.nan, DIFFERENCES[1], SETS[1], WHOLES[1], 3)
    answers = list(make(load(tmp_path), batch).evaluate(some))
    assert isinstance(answers[1].error, EvaluationError)
    assert "NaN" in str(answers[1].error)
    for i in (0, 2, 3, 4):
        assert answers[i].error is None
        np.testing.assert_allclose(answers[i].values, expected()[i][2], atol=2e-5)


def test_a_runtime_that_fails_once_costs_the_games_of_that_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole run would end, or the games be given out unevaluated."""
    calls = 0

    def second_fails(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("the device is lost")

    monkeypatch.setattr(predictor, "_MIN_BLOCK_ROWS", 1)
    monkeypatch.setattr(predictor, "_BLOCK_BYTES", 1)
    answers = list(make(failing(load(tmp_path), second_fails), 4).evaluate(games()))
    # Nine rows of the first, then seven: the second batch is of the first game alone.
    assert [a.error is None for a in answers] == [False, True, True, True, True]
    np.testing.assert_allclose(answers[1].values, expected()[1][2], atol=2e-5)


@pytest.mark.parametrize("fits", [1, 3, 6])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("Failed to allocate memory")])
def test_memory_that_runs_out_halves_the_batch(fits: int, error: Exception, tmp_path: Path) -> None:
    """Rows of the batch that did not fit would be lost, or evaluated twice."""
    told = list[int]()
    made = make(limited(load(tmp_path), fits, error), 16, on_smaller_batch=told.append)
    check(list(made.evaluate(games())))
    halves = [8, 4, 2, 1]
    assert told == halves[: halves.index(made.predictor.batch_size) + 1]
    assert fits / 2 < made.predictor.batch_size <= fits


def test_no_room_for_one_image_is_one_sentence(tmp_path: Path) -> None:
    """A traceback of the runtime, or a batch that is halved for ever."""
    error = RuntimeError("Failed to allocate memory")
    with pytest.raises(OutOfMemoryError, match=r"a batch of 1 images .* does not fit into memory"):
        list(make(limited(load(tmp_path), 0, error), 16).evaluate(games()))
    with pytest.raises(
        OutOfMemoryError, match=r"a batch of 5 images .* no smaller one is possible"
    ):
        list(make(limited(load(tmp_path, batch=5), 0, error), 16).evaluate(games()))


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        # The image as it is stands for all bands, and the empty coalition is shared: 1 for all.
        ({}, 4 * 7 + 1),
        ({"baseline": "mean", "pixel_range": "clip"}, 4 * 7 + 1),
        # Stretched, the image with all bands is another one than the image as it is.
        ({"pixel_range": "minmax"}, 4 * 8 + 1),
        ({"baseline": "noise"}, 4 * 8),
        ({"baseline": "complement", "pixel_range": "minmax"}, 4 * 9),
    ],
)
def test_nothing_is_evaluated_twice(
    options: dict[str, Any], rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forward passes are the cost of a run."""
    run, counts = Binding.run, list[int]()

    def counted(self: Binding, count: int) -> Any:
        counts.append(count)
        return run(self, count)

    monkeypatch.setattr(Binding, "run", counted)
    images = RNG.integers(0, 256, (4, 8, 8), dtype=np.uint8)
    path = Net((1, 8, 8)).save(tmp_path / "net.onnx")
    archive = decompose(path, images, tmp_path / "out.h5", labels=[0, 1, 2, 3], bands=3, **options)
    # Before the run: the four, three of them twice alone and once among four others, and baselines.
    baselines = 4 if options.get("baseline") in ("noise", "complement") else 1
    assert sum(counts) == rows + 4 + 2 * 3 + 7 + baselines
    assert np.isfinite(archive["worth"]).all()


def test_outputs_are_read_where_they_were_written(tmp_path: Path) -> None:
    """A binding to an address that was freed or moved reads another's memory."""
    classifier = load_classifier(
        read_graph(Net((3, 6, 7)).save(tmp_path / "net.onnx")), device="cpu"
    )
    binding = Binding(classifier, 4, (12, 3, 6, 7))
    for count in (12, 5, 1, 9, 12):
        binding.inputs[...] = RNG.random(binding.inputs.shape, dtype=np.float32)
        wanted = classifier.run(binding.inputs[:count].copy())
        np.testing.assert_allclose(binding.run(count), wanted, rtol=0, atol=1e-5)
    values, _ = log_probabilities(wanted, "logits")
    np.testing.assert_allclose(np.exp(values).sum(axis=1), 1.0)

"""Batches of the size that is fastest: archived, kept when a run goes on, and no other numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
import pytest

from iaside_onnx import Archive, decompose
from iaside_onnx.errors import RunConflictError
from iaside_onnx.runs import LogProgress
from iaside_onnx.runtime import Predictor
from tests.support.bad_case import pixels, save_wide
from tests.support.onnx_models import Net
from tests.support.stopping import Stopping

# 3 shards of up to 16 images.
IMAGES = pixels(36, 28, 28)
BANDS = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_wide(tmp_path)
    return tmp_path


def run(folder: Path, name: str = "out.h5", **options: Any) -> Archive:
    words: dict[str, Any] = {"bands": BANDS, "labels": np.arange(36) % 5, "batch_size": "auto"}
    return decompose(folder / "model.onnx", IMAGES, folder / name, **{**words, **options})


def finds(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let the search find this size, whatever is fastest here and now."""

    def search(predictor: Predictor, *_: object) -> tuple[int, str]:
        predictor.resize(size)
        return size, f"batch size: {size}, as the test wants it"

    monkeypatch.setattr("iaside_onnx.runs.planning.fastest_batch", search)


def refuse_to_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: object) -> NoReturn:
        pytest.fail("searched for a batch size")

    monkeypatch.setattr("iaside_onnx.runs.planning.fastest_batch", search)


def batch_size(archive: Archive) -> object:
    return archive.metadata.options["resolved"]["batch_size"]


def assert_same_numbers(first: Archive, second: Archive) -> None:
    """Every dataset is the same bit for bit; how the size was found is another matter."""
    with h5py.File(first.path, "r") as a, h5py.File(second.path, "r") as b:
        assert sorted(a) == sorted(b)
        assert len(a) > 20
        for name in a:
            ours, theirs = np.asarray(a[name][()]), np.asarray(b[name][()])
            assert ours.dtype == theirs.dtype, name
            assert np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"), name


def interrupt(folder: Path, images: int = 20, **options: Any) -> list[Path]:
    """The shards of a run that was interrupted after so many images."""
    with pytest.raises(KeyboardInterrupt):
        run(folder, progress=Stopping(images), **options)
    return sorted((folder / "out.h5.work").glob("shard-*.h5"))


def test_the_size_that_was_found_is_in_the_archive(folder: Path) -> None:
    """Numbers that nobody can make again to the bit, as `auto` may mean anything."""
    archive = run(folder)
    size = batch_size(archive)
    assert type(size) is int
    assert 1 <= size <= 1024
    assert size & (size - 1) == 0
    assert archive.metadata.options["given"]["batch_size"] == "auto"
    (note,) = (note for note in archive.metadata.notes if note.startswith("batch size"))
    assert note.startswith(f"batch size: {size}, the fastest of those tried (")
    assert f"{size}: " in note


def test_the_numbers_are_those_of_any_batch_size_and_to_the_bit_of_the_same(folder: Path) -> None:
    """The search leaves something behind in the buffers, and it gets into the results."""
    found, usual = run(folder), run(folder, "usual.h5", batch_size=32)
    assert batch_size(usual) == 32
    assert not [note for note in usual.metadata.notes if note.startswith("batch size")]
    np.testing.assert_allclose(found["worth"], usual["worth"], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(found["predicted"], usual["predicted"])
    assert_same_numbers(found, run(folder, "given.h5", batch_size=batch_size(found)))


def test_a_search_holds_no_more_than_a_shard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that are never full: the fastest by a clock, and slower in the run."""
    asked: list[int] = []

    def search(predictor: Predictor, most: int) -> tuple[int, str]:
        asked.append(most)
        return predictor.batch_size, "batch size: as it is"

    monkeypatch.setattr("iaside_onnx.runs.planning.fastest_batch", search)
    run(folder, bands=2)
    run(folder, "more.h5", bands=8)
    # 64 images of 4 coalitions make a shard of 2 bands.
    assert asked == [256, 1024]


@pytest.mark.parametrize("before", ["auto", 24])
def test_a_finished_archive_asked_for_again_is_not_searched_for(
    before: object, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Seconds of waiting to be told that it is there, or that it is another run's."""
    finds(monkeypatch, 24)
    written = run(folder, batch_size=before).path.read_bytes()
    refuse_to_search(monkeypatch)
    with caplog.at_level("INFO", "iaside_onnx"):
        again = run(folder)
    assert "out.h5 is already finished" in caplog.text
    assert batch_size(again) == 24
    assert again.path.read_bytes() == written


@pytest.mark.parametrize("before", ["auto", 24])
def test_an_interrupted_run_goes_on_at_its_own_size(
    before: object, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run differs from an undisturbed one, or is refused as another run."""
    finds(monkeypatch, 24)
    kept = interrupt(folder, batch_size=before)
    assert 0 < len(kept) < 3
    written = [path.stat().st_mtime_ns for path in kept]
    monkeypatch.setattr(LogProgress, "begin", lambda *_: times(kept, written))
    finds(monkeypatch, 48)
    resumed = run(folder)
    assert batch_size(resumed) == 24
    assert "batch size: 24, as before" in resumed.metadata.notes
    monkeypatch.undo()
    assert_same_numbers(resumed, run(folder, "undisturbed.h5", batch_size=24))


def times(paths: list[Path], written: list[int]) -> None:
    """Assert that the shards are those of before, when the run begins."""
    assert [path.stat().st_mtime_ns for path in paths] == written


def test_a_run_interrupted_before_its_first_shard_keeps_its_size_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused for a batch size that nobody chose."""
    finds(monkeypatch, 24)
    assert interrupt(folder, 0) == []
    finds(monkeypatch, 48)
    assert batch_size(run(folder)) == 24


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"baseline": "mean"}, "baseline"),
    ({"bands": 7}, "bands"),
    ({"seed": 3}, "seed"),
    ({"batch_size": 32}, "batch_size (24 there, 32 now)"),
]


@pytest.mark.parametrize("finished", [False, True], ids=["unfinished", "finished"])
def test_another_option_is_still_another_run(
    finished: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards of two runs in one archive, because the batch size was left open."""
    finds(monkeypatch, 24)
    if finished:
        run(folder)
    else:
        interrupt(folder)
    for options, said in OTHERS:
        with pytest.raises(RunConflictError) as caught:
            run(folder, **options)
        assert said in str(caught.value)


def test_overwriting_takes_the_size_of_before_only_where_all_else_is_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of another model, or of other bands, is taken for the fastest of this one."""
    finds(monkeypatch, 24)
    run(folder)
    finds(monkeypatch, 48)
    assert batch_size(run(folder, baseline="mean", overwrite=True)) == 48


def test_a_model_with_its_own_batch_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other sizes than the graph's are refused by the runtime."""
    refuse_to_search(monkeypatch)
    model = Net(batch=4).save(tmp_path / "net.onnx")
    archive = decompose(
        model, pixels(3), tmp_path / "out.h5", bands=3, labels=[0, 1, 2], batch_size="auto"
    )
    assert batch_size(archive) == 4
    assert not [note for note in archive.metadata.notes if note.startswith("batch size")]


def test_a_size_of_before_holds_no_more_than_a_shard(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million images asked for, 256 of them used: memory for all of them is allocated."""
    run(folder, bands=2, batch_size=1 << 14)
    refuse_to_search(monkeypatch)
    sizes: list[int] = []
    resize = Predictor.resize

    def spy(predictor: Predictor, size: int) -> None:
        sizes.append(size)
        resize(predictor, size)

    monkeypatch.setattr(Predictor, "resize", spy)
    assert batch_size(run(folder, bands=2)) == 1 << 14
    assert max(sizes) <= 256

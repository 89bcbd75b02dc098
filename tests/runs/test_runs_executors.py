"""Executors: each keeps the contract, and worker processes may die."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from iaside_onnx import decompose, open_archive
from iaside_onnx.errors import EvaluationError, RunConflictError
from iaside_onnx.runs import Executor, LocalExecutor, LogProgress, ProcessExecutor
from tests.runs.executor_contract import ExecutorContract, Work, assert_same_shards
from tests.support.bad_case import save_model, save_wide
from tests.support.comparing import assert_nothing_left, assert_same
from tests.support.stopping import Stopping


class TestLocal(ExecutorContract):
    def make(self) -> Executor:
        return LocalExecutor()


class TestProcesses(ExecutorContract):
    def make(self) -> Executor:
        return ProcessExecutor(2)


def test_a_worker_that_is_killed_is_replaced(work: Work) -> None:
    """The system kills a worker for its memory, and the whole run ends or waits for ever."""
    executor = ProcessExecutor(2)
    killed: list[int] = []

    def kill_one(_: int) -> None:
        if not killed:
            child = active_children()[0]
            killed.append(child.pid or 0)
            child.kill()

    try:
        assert_same_shards(list(executor.map(work.recipe, work.jobs, kill_one)), work)
    finally:
        executor.close()
    assert killed
    assert active_children() == []


@contextmanager
def deadly() -> Iterator[None]:
    """Meanwhile no child process lives long enough to do anything."""
    stop = threading.Event()

    def kill() -> None:
        while not stop.is_set():
            for child in active_children():
                child.kill()
            time.sleep(0.005)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        stop.set()
        killer.join()


def test_a_job_that_kills_every_worker_is_given_up(work: Work) -> None:
    """Workers are started for ever."""
    executor = ProcessExecutor(1)
    try:
        with deadly(), pytest.raises(EvaluationError, match=r"died 3 times .* images at 0 to 4"):
            list(executor.map(work.recipe, work.jobs, lambda _: None))
    finally:
        executor.close()
    assert active_children() == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model and images for three shards."""
    save_wide(tmp_path)
    return tmp_path


def run(folder: Path, name: str, **options: Any) -> Path:
    words: dict[str, Any] = {"bands": 8, "threads": 1, **options}
    return decompose(folder / "model.onnx", folder / "images.npz", folder / name, **words).path


@pytest.mark.parametrize("options", [{}, {"method": "sampled", "baseline": "complement"}])
def test_workers_change_no_number(options: dict[str, Any], folder: Path) -> None:
    """An archive depends on how many processes made it."""
    one, two = run(folder, "one.h5", **options), run(folder, "two.h5", workers=2, **options)
    assert_same(one, two, notes=False)
    assert_nothing_left(two)
    assert "2 workers" in " ".join(open_archive(two).metadata.notes)


def test_a_run_is_resumed_by_another_number_of_workers(folder: Path) -> None:
    """Whoever has more cores tomorrow has to begin again."""
    undisturbed = run(folder, "undisturbed.h5")
    with pytest.raises(KeyboardInterrupt):
        run(folder, "out.h5", workers=2, progress=Stopping(16))
    assert active_children() == []
    assert_same(undisturbed, run(folder, "out.h5", workers=1))


def test_a_changed_model_is_found_by_workers(folder: Path) -> None:
    """A worker that starts late evaluates another model than the first."""

    class Replaces(LogProgress):
        def begin(self, images: int, finished: int, evaluations: int) -> None:
            super().begin(images, finished, evaluations)
            save_model(folder)

    with pytest.raises(RunConflictError, match=r"model\.onnx: changed during the run"):
        run(folder, "out.h5", workers=2, progress=Replaces())

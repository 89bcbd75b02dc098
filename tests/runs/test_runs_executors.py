"""Executors: what all of them promise, and what becomes of processes that die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iaside_onnx.archive import Workspace
from iaside_onnx.errors import EvaluationError, RunConflictError
from iaside_onnx.progress import LogProgress
from iaside_onnx.runs import LocalExecutor, ProcessExecutor
from iaside_onnx.runs.driver import run_plan
from tests.runs.executor_contract import ExecutorContract, assert_same_shards, jobs_of, planned
from tests.runs.running import ROOT, is_running, wait_until, workers_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


class TestLocalExecutor(ExecutorContract):
    def make(self) -> LocalExecutor:
        return LocalExecutor()


class TestProcessExecutor(ExecutorContract):
    def make(self) -> ProcessExecutor:
        return ProcessExecutor(2)


@pytest.fixture
def processes() -> Iterator[ProcessExecutor]:
    made = ProcessExecutor(2)
    yield made
    made.close()


class Deadly:
    """Ends the process that takes it out of a pipe."""

    def __reduce__(self) -> Any:
        return os._exit, (9,)


def test_close_leaves_no_process(processes: ProcessExecutor) -> None:
    """Processes that hold a model each, for ever."""
    plan = planned()
    list(processes.map(plan.recipe, jobs_of(plan), lambda _: None))
    before = workers_of(os.getpid())
    assert len(before) == 2
    processes.close()
    assert not any(map(is_running, before))
    assert workers_of(os.getpid()) == []
    assert multiprocessing.active_children() == []


def test_close_in_the_middle_leaves_no_process(processes: ProcessExecutor) -> None:
    """A process that goes on with what nobody wants."""
    plan = planned(limit=64, bands=8, method="exact")
    results = processes.map(plan.recipe, jobs_of(plan, size=4), lambda _: None)
    next(results)
    before = workers_of(os.getpid())
    processes.close()
    assert not any(map(is_running, before))
    assert workers_of(os.getpid()) == []


def test_a_worker_that_is_killed_is_replaced(processes: ProcessExecutor) -> None:
    """Images that are lost, or evaluated twice, when the system takes a process."""
    plan = planned(limit=32, bands=6)
    jobs = jobs_of(plan, size=1)
    results = processes.map(plan.recipe, jobs, lambda _: None)
    found = [next(results)]
    killed = set()
    for _ in range(2):
        victim = workers_of(os.getpid())[0]
        os.kill(victim, signal.SIGKILL)
        killed.add(victim)
        found += [next(results), next(results), next(results)]
    found += results
    assert len(killed) == 2
    assert killed.isdisjoint(workers_of(os.getpid()))
    assert sorted(job.number for job, _ in found) == [job.number for job in jobs]
    for job, shard in found:
        ((_, wanted),) = plan.evaluator.evaluate([job])
        assert_same_shards(shard, wanted)


def test_a_job_that_kills_its_worker_is_named(processes: ProcessExecutor) -> None:
    """A run that starts workers for ever, or an error that blames images that are innocent."""
    plan = planned(limit=12)
    jobs = jobs_of(plan, size=2)
    jobs[2] = replace(jobs[2], masks=Deadly())  # type: ignore[arg-type]
    first, last = jobs[2].positions[[0, -1]].tolist()
    with pytest.raises(EvaluationError, match=f"died 3 times .* images at {first} to {last} of"):
        list(processes.map(plan.recipe, jobs, lambda _: None))
    processes.close()
    assert workers_of(os.getpid()) == []


def test_workers_that_are_always_killed_give_one_error(processes: ProcessExecutor) -> None:
    """A run that hangs where no worker can start."""
    plan = planned(limit=4)
    jobs = [replace(job, masks=Deadly()) for job in jobs_of(plan, size=1)]  # type: ignore[arg-type]
    with pytest.raises(EvaluationError, match="take fewer `workers=` or a smaller `batch_size=`"):
        list(processes.map(plan.recipe, jobs, lambda _: None))


# Sends a signal to the first worker of a process as soon as it is there.
_KILLER = """
import os, sys, time
from tests.runs.running import wait_until, workers_of
driver, number, times = map(int, sys.argv[1:])
print("ready", flush=True)
wait_until(lambda: bool(workers_of(driver)))
worker = workers_of(driver)[0]
for _ in range(times):
    os.kill(worker, number)
    time.sleep(0.01)
print(worker)
"""


@contextmanager
def killing(number: int, times: int = 1) -> Iterator[subprocess.Popen[str]]:
    """Have a signal sent to the first worker that there is."""
    words = [sys.executable, "-c", _KILLER, str(os.getpid()), str(int(number)), str(times)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as killer:
        assert killer.stdout is not None
        killer.stdout.readline()
        yield killer
    assert killer.returncode == 0


@pytest.mark.parametrize("large", [False, True])
def test_a_worker_that_is_killed_while_it_starts_is_replaced(
    processes: ProcessExecutor, large: bool
) -> None:
    """A driver that waits for ever for a process that will never read what it was sent."""
    images = np.random.default_rng(0).integers(0, 256, (4000 if large else 8, 28, 28), np.uint8)
    plan = planned(images, labels=np.arange(len(images)) % 10)
    with killing(signal.SIGKILL):
        found = list(processes.map(plan.recipe, jobs_of(plan), lambda _: None))
    assert len(found) == len(jobs_of(plan))


def test_ctrl_c_is_for_the_driver_alone(processes: ProcessExecutor) -> None:
    """On a terminal it reaches workers too, which print a traceback while they start."""
    plan = planned()
    with killing(signal.SIGINT, times=50) as killer:
        list(processes.map(plan.recipe, jobs_of(plan), lambda _: None))
        assert killer.stdout is not None
        worker = int(killer.stdout.read())
    assert worker in workers_of(os.getpid())


def test_a_folder_that_grows_is_noticed(processes: ProcessExecutor, tmp_path: Path) -> None:
    """Worths of one image under the name and the label of another."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (28, 28), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    plan = planned(folder, labels="predicted")
    Image.fromarray(pixels).save(folder / "0-before-the-others.png")
    workspace = Workspace(tmp_path / "out.h5")
    with (
        workspace.lock(),
        pytest.raises(RunConflictError, match=r"image 0\.png has changed during"),
    ):
        run_plan(plan, workspace, processes, LogProgress())
    assert not list(workspace.folder.glob("shard-*"))


def test_workers_that_die_while_they_wait_are_replaced(processes: ProcessExecutor) -> None:
    """A run that ends between two passes, where its worker had nothing to do."""
    plan = planned()
    jobs = jobs_of(plan)
    list(processes.map(plan.recipe, jobs[:2], lambda _: None))
    idle = workers_of(os.getpid())
    assert len(idle) == 2
    for worker in idle:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, idle)))
    found = list(processes.map(plan.recipe, jobs, lambda _: None))
    assert sorted(job.number for job, _ in found) == [job.number for job in jobs]
    assert not {*idle} & {*workers_of(os.getpid())}

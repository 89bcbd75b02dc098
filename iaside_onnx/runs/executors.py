"""Where jobs are evaluated: in this process, or in worker processes.

An executor turns jobs into shards, in any order. The driver alone writes shards, and does not know
where they were made. To add an executor: implement `Executor`; tests inherit
``tests/runs/executor_contract.py``.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from iaside_onnx.archive import Recipe, Shard
from iaside_onnx.errors import EvaluationError, write_failure
from iaside_onnx.runs.evaluator import Evaluator
from iaside_onnx.runs.jobs import Job
from iaside_onnx.runtime import Profile

__all__ = ["Executor", "LocalExecutor", "ProcessExecutor"]

Advance = Callable[[int], None]
"""Is told the number of images that have been finished since the last call."""

_Done: TypeAlias = tuple[Path, dict[str, float]]
"""What a worker gives back: the file of a shard, and seconds by phase."""

_IN_FLIGHT = 2
"""Jobs of a worker: the one that it evaluates, and the next, so that it never waits."""
_PREFIX = ".iaside-"
"""How the names of files begin that the driver and its workers exchange."""
_SAFE_PATH = "PYTHONSAFEPATH"
# What is changed while a worker starts belongs to the whole process.
_INTERPRETER = threading.RLock()
_DEATHS = 3
"""After so many workers have died of one job, it is given up."""


class Executor(Protocol):
    """Evaluates jobs of a recipe."""

    profile: Profile
    """Where the time goes; of several workers their mean."""

    def map(
        self, recipe: Recipe, jobs: Sequence[Job], advance: Advance
    ) -> Iterator[tuple[Job, Shard]]:
        """Each job with its shard, in any order.

        Args:
            recipe: what to evaluate, the same in every call.
            jobs: what is wanted.
            advance: is told of images that have been finished.

        Raises:
            IasideError: if evaluating fails for another reason than a single image.
        """

    def close(self) -> None:
        """Give back all that is open; no worker is left."""


class LocalExecutor:
    """Evaluates in this process, one job after the other."""

    def __init__(self, evaluator: Evaluator | None = None) -> None:
        """Take an evaluator of the recipe that is open already; by default it is opened."""
        self._evaluator = evaluator
        self.profile = Profile() if evaluator is None else evaluator.profile

    def map(
        self, recipe: Recipe, jobs: Sequence[Job], advance: Advance
    ) -> Iterator[tuple[Job, Shard]]:
        """Each job with its shard, in order."""
        if self._evaluator is None:
            self._evaluator = Evaluator.open(recipe)
            self._evaluator.predictor.profile = self.profile
        yield from self._evaluator.evaluate(jobs, advance)

    def close(self) -> None:
        """Close the model."""
        self._evaluator = None


class ProcessExecutor:
    """Evaluates in worker processes, each with the model and the images open.

    A worker that dies, however it dies, is replaced, and its jobs are given to the new one.
    """

    def __init__(self, workers: int, folder: Path | None = None) -> None:
        """Workers are started when the first jobs come.

        Args:
            workers: number of processes, at least 1.
            folder: where the recipe is written for them, such as the folder of work of the run,
                which is cleared however the run ends; by default the system's for temporary files.
        """
        self._folder = folder
        self.profile = Profile()
        self._count = workers
        self._workers: list[_Worker] = []
        self._recipe: Path | None = None

    def map(
        self, recipe: Recipe, jobs: Sequence[Job], advance: Advance
    ) -> Iterator[tuple[Job, Shard]]:
        """Each job with its shard, as they are finished."""
        if self._recipe is None:
            self._recipe = _store(recipe, self._folder)
            self._workers = [_Worker(self._recipe) for _ in range(self._count)]
        waiting = deque(jobs)
        deaths: dict[int, int] = {}
        running: dict[Future[_Done], tuple[_Worker, Job]] = {}
        while waiting or running:
            self._submit(waiting, running)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            # In the order of submission: a worker that died was evaluating the first of its jobs.
            for future in [future for future in running if future in done]:
                worker, job = running.pop(future)
                try:
                    path, seconds = future.result()
                except BrokenProcessPool:
                    lost = [job, *(j for w, j in running.values() if w is worker)]
                    running = {f: (w, j) for f, (w, j) in running.items() if w is not worker}
                    deaths[job.number] = deaths.get(job.number, 0) + 1
                    if deaths[job.number] >= _DEATHS:
                        raise EvaluationError(_died(job)) from None
                    waiting.extendleft(reversed(lost))
                    worker.restart()
                    break
                shard = _take(path)
                self.profile.add(seconds, share=1 / self._count)
                advance(job.positions.size)
                yield job, shard

    def _submit(
        self,
        waiting: deque[Job],
        running: dict[Future[_Done], tuple[_Worker, Job]],
    ) -> None:
        """Give each worker jobs, one after the other, up to what it may have."""
        for _ in range(_IN_FLIGHT):
            for worker in self._workers:
                mine = sum(w is worker for w, _ in running.values())
                if not waiting or mine == _IN_FLIGHT:
                    continue
                try:
                    future = worker.submit(waiting[0])
                except BrokenProcessPool:
                    # Where it has jobs, these tell of its death.
                    if not mine:
                        worker.restart()
                    continue
                running[future] = worker, waiting.popleft()

    def close(self) -> None:
        """End the workers, and what they are evaluating."""
        for worker in self._workers:
            worker.kill()
        self._workers = []
        # Shards that nobody has taken.
        for path in self._folder.glob(f"{_PREFIX}*") if self._folder else ():
            path.unlink(missing_ok=True)
        if self._recipe is not None:
            self._recipe.unlink(missing_ok=True)
            self._recipe = None


class _Worker:
    """One worker process: a pool of its own, so that its death takes no other worker along."""

    def __init__(self, recipe: Path) -> None:
        self._recipe = recipe
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        with _fresh_interpreter():
            return ProcessPoolExecutor(
                1, get_context("spawn"), initializer=_remember, initargs=(self._recipe,)
            )

    def submit(self, job: Job) -> Future[_Done]:
        """Have a job evaluated; a process is started for the first one.

        Raises:
            BrokenProcessPool: if the process has died.
        """
        with _fresh_interpreter():
            return self._pool.submit(_evaluate, job)

    def restart(self) -> None:
        """Replace a process that has died."""
        self.kill()
        self._pool = self._start()

    def kill(self) -> None:
        """End the process at once; what it evaluates is lost."""
        # None before the first job. The executor has no public way to stop what is running.
        processes = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
            process.join()


@contextmanager
def _deferred_signals() -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM when the context ends.

    Raised between starting a process and sending what it needs, they leave a process that prints a
    traceback. Processes that are started inherit a mask that blocks Ctrl-C, as they would print
    another one. The mask alone is not enough here, where other threads receive the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
        if callable(signal.getsignal(number))
    }
    # Windows has no such masks.
    mask = getattr(signal, "pthread_sigmask", None)
    blocked = mask(signal.SIG_BLOCK, [signal.SIGINT]) if mask else None
    try:
        yield
    finally:
        if mask:
            mask(signal.SIG_SETMASK, blocked)
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


@contextmanager
def _fresh_interpreter() -> Iterator[None]:
    """Have new interpreters take nothing but the package.

    They do not look for modules in the working directory, which may be a stranger's. And they do
    not run the main module of this process again: a user's script need not be written for that.
    """
    with _INTERPRETER:
        yield from _hide_main()


def _hide_main() -> Iterator[None]:
    before = os.environ.get(_SAFE_PATH)
    main = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    os.environ[_SAFE_PATH] = "1"
    main["__spec__"] = None
    main.pop("__file__", None)
    try:
        with _deferred_signals():
            yield
    finally:
        main.update(hidden)
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


def _store(value: object, folder: Path | None) -> Path:
    """Write a recipe or a shard to a file that only this user can read.

    Through the pipe to or from a process that may be killed at any moment, only what fits into one
    write can be sent: the other end waits for the rest of a longer message for ever.

    Raises:
        ArchiveError: if the file system refuses.
    """
    descriptor, name = tempfile.mkstemp(".tmp", _PREFIX, folder)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            pickle.dump(value, file)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_failure(path, error) from error
        raise
    return path


def _take(path: Path) -> Shard:
    """Read a shard that a worker has written, and remove the file."""
    # Written by our own process, into a file of this user alone.
    shard: Shard = pickle.loads(path.read_bytes())  # noqa: S301
    path.unlink()
    return shard


def _died(job: Job) -> str:
    return (
        f"a worker process died {_DEATHS} times while it evaluated the images at "
        f"{job.positions[0]} to {job.positions[-1]} of the source: most likely memory ran out, or "
        "the model makes the runtime crash; what is finished is kept: take fewer `workers=` or a "
        "smaller `batch_size=`"
    )


class _Process:
    """What a worker process holds: where its recipe is, and once a job came, everything live."""

    recipe: Path
    evaluator: Evaluator | None = None


def _remember(recipe: Path) -> None:
    """Note where the recipe is; an error while opening it could not be told from a death here."""
    # Ctrl-C reaches all processes of a terminal. The driver ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _Process.recipe = recipe
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the driver has died, which the pool itself would never notice."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        _Process.recipe.unlink(missing_ok=True)
        os._exit(1)


def _evaluate(job: Job) -> _Done:
    """The file with the shard of a job, and where the time went."""
    if _Process.evaluator is None:
        # Written by the driver.
        recipe = pickle.loads(_Process.recipe.read_bytes())  # noqa: S301
        _Process.evaluator = Evaluator.open(recipe)
    evaluator = _Process.evaluator
    evaluator.profile.clear()
    ((_, shard),) = evaluator.evaluate([job])
    return _store(shard, _Process.recipe.parent), dict(evaluator.profile.seconds)

"""One measurement of `bench`: `child ACTION JOB`, with JOB and the answer in JSON.

Each measurement has a new process, so that memory and threads of one do not affect the next.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from tools.shared.runs import Plan

PAUSE = 0.3
"""Seconds after which idle threads of PyTorch no longer spin."""
_WARM_SECONDS = 0.5
_LEAST_IMAGES = 4
_LEAST_PLAIN = 16
_RAW_MEMORY_PASSES = 256


@dataclass(frozen=True)
class Job:
    """What to measure; see `bench`."""

    name: str
    model: str
    images: str
    classes: str | None
    bands: int
    threads: int
    batch_size: int | None
    limit: int | None
    pairs: int
    seconds: float
    way: str

    sampled: bool = False

    @property
    def each(self) -> int:
        """Evaluations an image: all coalitions, or one pair of permutations and the whole image."""
        return 2 * self.bands - 1 if self.sampled else 2**self.bands

    def plan(self, batch_size: int | Literal["auto"], limit: int | None = None) -> Plan:
        """Prepares the run of iaside."""
        # Not at the top: the memory of the raw way must not hold what iaside imports.
        from tools.shared.runs import prepare

        return prepare(
            self.model,
            self.images,
            bands=self.bands,
            limit=limit,
            batch_size=batch_size,
            device="cpu",
            threads=self.threads,
            classes=Path(self.classes) if self.classes else None,
            method="sampled" if self.sampled else "exact",
            budget=max(limit or 1, 2 * self.bands) * self.each if self.sampled else None,
        )


class Raw:
    """ONNX Runtime alone, on one batch that is bound in memory and evaluated again and again."""

    def __init__(self, job: Job) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = job.threads
        settings.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            job.model, settings, providers=["CPUExecutionProvider"]
        )
        (self._input,) = self._session.get_inputs()
        self._output = self._session.get_outputs()[0]
        self._batch = int(job.batch_size or 1)
        shape = [self._batch, *self._input.shape[1:]]
        self._images = np.random.default_rng(0).random(shape, dtype=np.float32)
        (first,) = self._session.run([self._output.name], {self._input.name: self._images})
        self._answers = np.empty_like(first)
        self._full = self._bind(self._batch)

    def _bind(self, rows: int) -> Any:
        bound = self._session.io_binding()
        bound.bind_input(
            self._input.name, "cpu", 0, np.float32, self._images[:rows].shape,
            self._images.ctypes.data,
        )  # fmt: skip
        bound.bind_output(
            self._output.name, "cpu", 0, np.float32, self._answers[:rows].shape,
            self._answers.ctypes.data,
        )  # fmt: skip
        return bound

    def time(self, passes: int) -> float:
        """Seconds that a number of images take."""
        batches, rest = divmod(passes, self._batch)
        last = self._bind(rest) if rest else None
        begun = time.perf_counter()
        for _ in range(batches):
            self._session.run_with_iobinding(self._full)
        if last is not None:
            self._session.run_with_iobinding(last)
        return time.perf_counter() - begun

    def rate(self) -> float:
        """Images a second after a warm-up, roughly."""
        self.time(self._batch)
        batches, seconds = 1, 0.0
        while seconds < _WARM_SECONDS:
            seconds = self.time(batches * self._batch)
            batches *= 2
        return batches / 2 * self._batch / seconds


def _iaside(plan: Plan) -> tuple[float, np.ndarray | None]:
    """Seconds from images on disk to shards on disk, and the worths of the first shard."""
    from tools.shared.runs import evaluate

    with tempfile.TemporaryDirectory() as folder:
        return evaluate(plan, Path(folder))


class _PlainTask:
    """The plain way on the first image, on as many coalitions as fit into the time given."""

    def __init__(self, job: Job, plan: Plan) -> None:
        from tools.benchmarks.plain import Plain, load_net
        from tools.shared.runs import whole_image

        net = load_net(job.name, Path(job.model))
        if net is None:
            raise ImportError(job.name)
        scale, shift = plan.evaluator.spec.affine()
        self._plain = Plain(net, scale, shift, job.bands, job.threads)
        self._pixels, self._label = whole_image(plan, 0)
        self._all = 2**job.bands
        first = self._spread(_LEAST_PLAIN)
        self.time(first)
        count = int(job.seconds * len(first) / self.time(first))
        some = self._spread(count)
        self.coalitions = some * max(round(count / len(some)), 1)  # as if of several images

    def _spread(self, count: int) -> list[int]:
        """A number of coalitions, evenly spread over all of them."""
        count = min(max(count, _LEAST_PLAIN), self._all)
        return [int(i) for i in np.linspace(0, self._all - 1, count).round()]

    def time(self, coalitions: list[int] | None = None) -> float:
        """Seconds that the coalitions take."""
        return self._plain.time(self._pixels, self._label, coalitions or self.coalitions)

    def difference(self, worth: np.ndarray) -> float:
        """The largest difference from iaside's worths of the same image, in nats."""
        some = self._spread(_LEAST_PLAIN)
        plain = self._plain.worth(self._pixels, self._label, some)
        return float(np.abs(worth[some] - plain).max())


def _plain(job: Job, plan: Plan) -> _PlainTask | None:
    try:
        return _PlainTask(job, plan)
    except ImportError:
        return None


def batch(job: Job) -> dict[str, Any]:
    """The batch size of a model, which all of its measurements use."""
    plan = job.plan(job.batch_size or "auto", limit=1)
    return {"batch_size": int(plan.evaluator.predictor.batch_size)}


def speed(job: Job) -> dict[str, Any]:
    """Times the three ways in turns: raw, iaside, plain, iaside, raw, plain, raw..."""
    raw = Raw(job)
    # The model waits for the first image: the rate is steady only over several images.
    least = _LEAST_IMAGES if job.bands <= 8 else 2
    images = job.limit or max(round(job.seconds * raw.rate() / job.each), least)
    plan = job.plan(job.batch_size or 1, limit=images)
    images = int(plan.selection.positions.size)
    passes = images * job.each
    plain = None if job.sampled else _plain(job, plan)
    raw.time(passes)
    _, worth = _iaside(plan)  # warm-up, not counted
    times: dict[str, list[float]] = {"raw": [], "iaside": [], "plain": []}
    ways = {"raw": lambda: raw.time(passes), "iaside": lambda: _iaside(plan)[0]}
    for pair in range(job.pairs):
        # The first way changes from pair to pair, so that drift of the machine favours neither.
        for way in sorted(ways, reverse=pair % 2 == 0):
            times[way].append(ways[way]())
        if plain is not None:
            times["plain"].append(plain.time())
            time.sleep(PAUSE)
    return {
        "images": images,
        "batch_size": int(plan.evaluator.predictor.batch_size),
        "coalitions": passes,
        "plain_coalitions": len(plain.coalitions) if plain else None,
        "plain_difference_nats": None
        if plain is None or worth is None
        else plain.difference(worth[0]),
        "seconds": times,
    }


def memory(job: Job) -> dict[str, Any]:
    """Peak memory of this process, which does the job in one way."""
    if job.way == "raw":
        # The same batch again and again: more passes take no more memory.
        Raw(job).time(_RAW_MEMORY_PASSES)
    elif job.way == "iaside":
        _iaside(job.plan(job.batch_size or 1, limit=job.limit))
    else:
        task = _plain(job, job.plan(1, limit=1))
        if task is None:
            return {"peak_bytes": None}
        task.time()
    return {"peak_bytes": _peak()}


def _peak() -> int:
    """Peak memory of this process, in bytes.

    On Linux `ru_maxrss` also counts the parent that started the process; VmHWM does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def first(job: Job) -> dict[str, Any]:
    """Seconds from the start of `iaside decompose` to its first image; ends the process."""
    from iaside_onnx import cli

    def stop(_progress: object, images: int) -> None:
        if images:
            seconds = time.time() - float(os.environ["BENCH_STARTED"])
            _print({"seconds": seconds})
            os._exit(0)

    # The command line accepts no listener: replace the method of its own.
    command: Any = sys.modules[f"{cli.__name__}.decompose"]
    command.ConsoleProgress.advance = stop
    words = ["decompose", job.model, "--images", job.images, "--bands", str(job.bands)]
    words += ["--device", "cpu", "--threads", str(job.threads)]
    words += ["--classes", job.classes] if job.classes else []
    words += ["--batch-size", str(job.batch_size)] if job.batch_size else []
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = ["iaside", *words, "-o", str(Path(folder) / "out.h5")]
        cli.main()
    raise SystemExit("no image was finished")


def _print(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Runs one action and prints its answer as the last line."""
    action, job = sys.argv[1:]
    # Random labels cause a warning that accuracy is at chance level.
    logging.getLogger("iaside_onnx").setLevel(logging.ERROR)
    actions = {"batch": batch, "speed": speed, "memory": memory, "first": first}
    _print(actions[action](Job(**json.loads(job))))


if __name__ == "__main__":
    main()

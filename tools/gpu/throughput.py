"""The section of `check` that compares the speed of iaside with that of ONNX Runtime alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from iaside_onnx.runtime import import_runtime
from tools.gpu.context import Context, Lines, expect
from tools.shared.runs import Plan, evaluate, first_images, prepare

PAIRS = 5
LEAST_RATIO = 0.95
_BANDS = 8
_IMAGES = 64
_SEED = 5
_GRAPH = "1000000"
"""Identifier of a separate CUDA graph: the session may hold graphs of other buffers."""


@dataclass(frozen=True)
class Setting:
    """Precision, batch size and CUDA graph of one measurement."""

    precision: str
    batch: int
    graph: bool = False

    @property
    def name(self) -> str:
        """Its name in the record."""
        return f"{self.precision}, {self.batch}{', CUDA graph' if self.graph else ''}"

    @property
    def gated(self) -> bool:
        """Whether the ratio must reach the minimum."""
        return self == Setting("FP32", 256)


def settings(context: Context) -> list[Setting]:
    """The settings to measure, the most important first, because time may run out."""
    if not context.gpu:
        return [Setting("FP32", 4), Setting("FP32", 8)]
    batches = (256, 64) if context.quick else (256, 512, 128, 64)
    ways = [(precision, graph) for graph in (False, True) for precision in ("FP32", "TF32", "FP16")]
    return [Setting(precision, batch, graph) for batch in batches for precision, graph in ways]


def throughput(context: Context, found: dict[str, Any]) -> None:
    """Measure images a second of both in turns, and their ratio."""
    found |= {"bands": _BANDS, "pairs": PAIRS, "least_ratio_FP32_256": LEAST_RATIO}
    for setting in settings(context):
        if context.late:
            found[setting.name] = {"skipped": "no time left"}
            context.keep()
            continue
        context.attempt(found, setting.name, partial(_measure, context, setting))
    if context.gpu:
        context.memory().release()


def _measure(context: Context, setting: Setting) -> dict[str, Any]:
    plan = _plan(context, setting)
    raw = Raw(plan, setting.batch)
    raw.run(2)
    rate = setting.batch * 4 / _seconds(partial(raw.run, 4))
    shard = plan.schedule.shard_images(0)
    # About a second each. The gated setting has more images, because a run begins with one extra
    # batch, for the baseline.
    wanted = _IMAGES if setting.gated else round(rate / plan.schedule.cost_of(0))
    images = shard * min(max(wanted // shard, 1), _IMAGES // shard)
    _evaluate(first_images(plan, 1), context.folder)
    found = _turns(first_images(plan, images), raw, setting.batch, context.folder)
    found["batch_size"] = plan.evaluator.predictor.batch_size
    found["profile"] = plan.evaluator.predictor.profile.as_dict()
    expect(
        found, plan.evaluator.predictor.batch_size == setting.batch, "the batch fits into memory"
    )
    if setting.gated:
        expect(found, found["ratio"] >= LEAST_RATIO, f"a ratio of {LEAST_RATIO} at least")
    return found


def _turns(plan: Plan, raw: Raw, batch: int, folder: Path) -> dict[str, Any]:
    """Measure both in turns, over the images of the plan."""
    # The empty coalition is evaluated once for all images.
    evaluations = plan.selection.positions.size * (plan.schedule.cost_of(0) - 1)
    runs = -(-evaluations // batch)
    raws: list[float] = []
    ours: list[float] = []
    for pair in range(PAIRS):
        turns: list[tuple[list[float], Callable[[], float], int]] = [
            (raws, partial(_seconds, partial(raw.run, runs)), runs * batch),
            (ours, partial(_evaluate, plan, folder), evaluations),
        ]
        for rates, turn, count in turns if pair % 2 else reversed(turns):
            rates.append(count / turn())
    ratios = [own / alone for own, alone in zip(ours, raws, strict=True)]
    return {
        "images_per_second_raw": median(raws),
        "images_per_second": median(ours),
        "ratio": median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
        # As in a long run: without the batch for the baseline, which all images share.
        "ratio_without_first": median(r / (1 - r * batch / evaluations) for r in ratios),
        "evaluations": int(evaluations),
        "pairs_raw": raws,
        "pairs_iaside": ours,
    }


def _plan(context: Context, setting: Setting) -> Plan:
    model = context.model("resnet-half" if setting.precision == "FP16" else "resnet")
    return prepare(
        model,
        context.images(),
        Lines(),
        bands=_BANDS,
        batch_size=setting.batch,
        device=context.device,
        limit=_IMAGES,
        method="exact",
        tf32=setting.precision == "TF32",
        cuda_graph=setting.graph,
    )


def _seconds(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _evaluate(plan: Plan, folder: Path) -> float:
    """Seconds that all shards of a run take, with reading images and writing shards."""
    return evaluate(plan, folder, Lines())[0]


class Raw:
    """The session of a plan on one batch in device memory, without iaside.

    The session is shared, because two sessions may choose different algorithms for a convolution.
    """

    def __init__(self, plan: Plan, batch: int) -> None:
        """Bind random inputs and a buffer for the outputs."""
        classifier = plan.classifier
        memory, signature = classifier.memory, classifier.signature
        shape = (batch, *plan.evaluator.spec.size())
        random = np.random.default_rng(_SEED).random(shape, np.float32)
        self._inputs = memory.zeros(shape, np.float32)
        self._inputs[...] = memory.xp.asarray(random)
        self._outputs = memory.zeros((batch, plan.classes), np.float32)
        self._session = classifier.execution.session
        self._bound = self._session.io_binding()
        for bind, name, array in (
            (self._bound.bind_input, signature.input_name, self._inputs),
            (self._bound.bind_output, signature.output_name, self._outputs),
        ):
            bind(name, *memory.device, np.float32, array.shape, memory.pointer(array))
        self._options = import_runtime().RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", _GRAPH)
        # ONNX Runtime's stream does not wait for CuPy's, which may still write the inputs.
        memory.synchronize()

    def run(self, times: int) -> None:
        """Evaluate a number of batches one after the other, each with synchronisation."""
        for _ in range(times):
            self._session.run_with_iobinding(self._bound, self._options)

"""One run of iaside without its archive, for scripts that time it.

All that these scripts use of the package's internals to prepare and evaluate a run is here.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Workspace
from iaside_onnx.engine.local import run_shards
from iaside_onnx.engine.options import Options
from iaside_onnx.engine.plan import Plan, make_plan
from iaside_onnx.engine.progress import LogProgress, Progress
from iaside_onnx.engine.sampled import run_rounds

__all__ = ["Plan", "evaluate", "prepare", "whole_image"]


def prepare(
    model: str | Path, images: str | Path, progress: Progress | None = None, **options: Any
) -> Plan:
    """Loads a model and opens images, ready to evaluate; options as in `iaside_onnx.Options`."""
    return make_plan(model, images, Options(**options), progress or LogProgress())


def evaluate(
    plan: Plan, folder: Path, progress: Progress | None = None
) -> tuple[float, NDArray[np.floating[Any]] | None]:
    """Evaluates a run, and removes the shards that it wrote.

    Args:
        plan: what to evaluate.
        folder: where the shards are written.
        progress: listens to the run; by default the logger.

    Returns:
        Seconds from images on disk to shards on disk, and the worths of the first shard
        `(images, 2**bands)` in nats, which are None for a sampled run.
    """
    run = run_shards if plan.sample is None else run_rounds
    workspace = Workspace(folder / "timed.h5")
    with workspace.lock():
        workspace.claim(plan.identity, "2000-01-01T00:00:00+00:00", overwrite=True)
        try:
            begun = time.perf_counter()
            run(plan, workspace, progress or LogProgress())
            seconds = time.perf_counter() - begun
            if plan.sample is not None:
                return seconds, None
            shard = workspace.read(0, plan.selection.positions[plan.shards[0]])
            return seconds, None if shard is None else shard.worth
        finally:
            workspace.clear()


def whole_image(plan: Plan, number: int) -> tuple[NDArray[np.float32], int]:
    """Pixels `(channels, height, width)` in [0, 1] of an image of a run, and its label.

    Raises:
        ValueError: if the images have no labels.
    """
    label = plan.selection.label_of(number)
    if label is None:
        raise ValueError("the images have no labels")
    position = int(plan.selection.positions[number])
    return plan.selection.source.read(position, plan.spec).pixels, label

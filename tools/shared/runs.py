"""One run of iaside without its archive, for scripts that time it.

All that these scripts use of the package's internals to prepare and evaluate a run is here.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Workspace
from iaside_onnx.progress import LogProgress, Progress
from iaside_onnx.runs.driver import run_plan
from iaside_onnx.runs.executors import LocalExecutor
from iaside_onnx.runs.options import Options
from iaside_onnx.runs.planning import Plan, find_inputs, make_plan

__all__ = ["Plan", "evaluate", "first_images", "prepare", "whole_image"]


def prepare(
    model: str | Path, images: str | Path, progress: Progress | None = None, **options: Any
) -> Plan:
    """Loads a model and opens images, ready to evaluate; options as in `iaside_onnx.Options`."""
    chosen = Options(**options)
    return make_plan(find_inputs(model, images, chosen), chosen, progress or LogProgress())


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
    workspace = Workspace(folder / "timed.h5")
    with workspace.lock():
        workspace.claim(plan.recipe.to_json(), "2000-01-01T00:00:00+00:00", overwrite=True)
        try:
            begun = time.perf_counter()
            results = run_plan(
                plan, workspace, LocalExecutor(plan.evaluator), progress or LogProgress()
            )
            seconds = time.perf_counter() - begun
            exact = plan.schedule.design.shared
            return seconds, results.shard(0)["worth"] if exact else None
        finally:
            workspace.clear()


def first_images(plan: Plan, images: int) -> Plan:
    """The same run, which must be of every coalition, with its first images only."""
    chosen = plan.selection
    labels = None if chosen.labels is None else chosen.labels[:images]
    fewer = replace(chosen, positions=chosen.positions[:images], labels=labels)
    return replace(
        plan,
        inputs=replace(plan.inputs, selection=fewer),
        schedule=replace(plan.schedule, images=images),
        order=plan.order[:images],
    )


def whole_image(plan: Plan, number: int) -> tuple[NDArray[np.float32], int]:
    """Pixels `(channels, height, width)` in [0, 1] of an image of a run, and its label.

    Raises:
        ValueError: if the images have no labels.
    """
    label = plan.selection.label_of(number)
    if label is None:
        raise ValueError("the images have no labels")
    position = int(plan.selection.positions[number])
    return plan.selection.source.read(position, plan.evaluator.spec).pixels, label

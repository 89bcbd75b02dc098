"""One process, one machine: evaluates every coalition of every image, shard by shard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from iaside_onnx.archive import Workspace
from iaside_onnx.engine.evaluation import Task, Worker, check_model, is_finished, make_shard
from iaside_onnx.engine.plan import Plan
from iaside_onnx.engine.progress import Progress
from iaside_onnx.game import shapley_values

__all__ = ["run_shards", "timed"]


@contextmanager
def timed(plan: Plan, progress: Progress) -> Iterator[None]:
    """Count the time of a run in its profile, and end its progress, however it ends."""
    begun = time.perf_counter()
    try:
        yield
    finally:
        plan.evaluator.predictor.profile.wall += time.perf_counter() - begun
        progress.end()


def run_shards(plan: Plan, workspace: Workspace, progress: Progress) -> None:
    """Evaluate every shard that is not there yet; the workspace must be locked and claimed.

    Raises:
        ArchiveError: if a shard cannot be written; those before it are kept.
        RunConflictError: if an image of an earlier shard has changed since.
    """
    shards, coalitions = plan.shards, plan.coalitions
    todo = [
        number
        for number, rows in enumerate(shards)
        if not is_finished(plan, workspace, progress, number, rows)
    ]
    total = plan.selection.positions.size
    progress.begin(total, total - sum(shards[n].size for n in todo), coalitions.size)
    profile = plan.evaluator.predictor.profile
    profile.clear()
    with timed(plan, progress):
        if not todo:
            return
        rows = np.concatenate([shards[n] for n in todo]).tolist()
        tasks = [Task(row, coalitions, plan.selection.label_of(row)) for row in rows]
        worker = Worker(plan, tasks, coalitions, progress)
        for number in todo:
            results, failures = worker.evaluate(shards[number].size)
            shard = make_shard(plan, results, failures, coalitions.size)
            shard = replace(shard, phi_image=shapley_values(shard.worth))
            check_model(plan)
            with profile.phase("write"):
                workspace.write(number, shard)
            profile.images += shard.image.size
            profile.evaluations += shard.image.size * coalitions.size

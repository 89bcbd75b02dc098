"""The driver of a run: it hands out jobs, and is the only one that writes shards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Shard, Workspace
from iaside_onnx.errors import ArchiveError, RunConflictError
from iaside_onnx.game import Estimate
from iaside_onnx.progress import Progress
from iaside_onnx.runs.executors import Executor
from iaside_onnx.runs.jobs import OWN_ANSWER, Job
from iaside_onnx.runs.planning import Plan
from iaside_onnx.runs.results import Results
from iaside_onnx.runs.schedule import Piece
from iaside_onnx.runtime import Profile

__all__ = ["missing", "run_plan"]


def run_plan(plan: Plan, workspace: Workspace, executor: Executor, progress: Progress) -> Results:
    """Evaluate until all is done, the budget is spent, or the precision is reached.

    Where a round ends depends only on what was evaluated. So a run that goes on after a kill makes
    the same shards.

    Args:
        plan: the run.
        workspace: its folder, locked and claimed.
        executor: evaluates.
        progress: listens.

    Raises:
        ArchiveError: if a shard cannot be written; those before it are kept.
        RunConflictError: if an image of an earlier shard, or the model, has changed since.
    """
    results = Results(plan, workspace)
    executor.profile.clear()
    earlier = list(plan.rounds)
    done, short = 0, np.nan
    while done < plan.limit:
        target = short if plan.has_target else None
        end = earlier.pop(0) if earlier else plan.schedule.next_end(done, target, plan.limit)
        _run_round(plan, workspace, executor, progress, results, done, end)
        results.rounds.append(end)
        done = end
        if not plan.schedule.design.sequential:
            break
        found = results.estimate()
        short = np.nan if found is None else missing(plan, found)
        if found is not None:
            progress.say(_line(plan, done, found))
        if short <= 1 and not earlier:
            break
    return results


def missing(plan: Plan, found: Estimate) -> float:
    """How many times the target the uncertainty is; NaN if unknown, or without a target."""
    ratios = []
    recipe = plan.recipe
    if recipe.target_se is not None:
        ratios.append(float(found.standard_error.max()) / recipe.target_se)
    if recipe.target_sis_width is not None:
        ratios.append((found.sis_high - found.sis_low) / 2 / recipe.target_sis_width)
    return max(ratios, default=np.nan)


def _run_round(
    plan: Plan,
    workspace: Workspace,
    executor: Executor,
    progress: Progress,
    results: Results,
    start: int,
    stop: int,
) -> None:
    pieces = plan.schedule.pieces(start, stop)
    for number, group in groupby(pieces, key=lambda piece: piece.number):
        numbers = results.begin(list(group))
        _run_pass(plan, workspace, executor, progress, results, number, numbers)


def _run_pass(
    plan: Plan,
    workspace: Workspace,
    executor: Executor,
    progress: Progress,
    results: Results,
    number: int,
    shards: range,
) -> None:
    """Evaluate the shards of one pass that are not there yet, and take all of them in."""
    jobs = []
    total = 0
    for shard_number in shards:
        total += results.positions(results.pieces[shard_number]).size
        if not _is_finished(plan, workspace, progress, shard_number, results):
            jobs.append(_job(plan, results, shard_number))
    # Shards are taken in in their order, whatever the order in which they are finished.
    unfinished, added = {job.number for job in jobs}, shards.start
    evaluations = plan.schedule.cost_of(number)
    # A sequential run that goes on passes over many shards that are finished, and says nothing.
    if jobs or not plan.schedule.design.sequential:
        left = sum(job.positions.size for job in jobs)
        progress.begin(total, total - left, evaluations)
    profile = executor.profile
    with _timed(profile, progress):
        for job, shard in executor.map(plan.recipe, jobs, progress.advance):
            _check_model(plan)
            _check_images(plan, workspace, results, results.pieces[job.number], shard)
            with profile.phase("write"):
                workspace.write(job.number, shard)
            profile.images += shard.images
            profile.evaluations += shard.images * evaluations
            unfinished.discard(job.number)
            added = _add_finished(results, range(added, shards.stop), unfinished, job.number, shard)
        _add_finished(results, range(added, shards.stop), unfinished)


def _add_finished(
    results: Results,
    shards: range,
    unfinished: set[int],
    number: int | None = None,
    shard: Shard | None = None,
) -> int:
    """Take in the shards up to the first that is not finished.

    Args:
        results: take them in.
        shards: numbers of those that were not taken in yet, in order.
        unfinished: numbers of those that are not finished.
        number: of the shard that was finished last, which need not be read back.
        shard: that shard.

    Returns:
        The number of the first shard that was not taken in.
    """
    for candidate in shards:
        if candidate in unfinished:
            return candidate
        results.add(candidate, shard if candidate == number else None)
    return shards.stop


def _job(plan: Plan, results: Results, number: int) -> Job:
    piece = results.pieces[number]
    draws = results.draws(piece)
    rows = results.rows(draws)
    labels = plan.selection.labels
    first, now = piece.number == 0, plan.schedule.design.passes[piece.number]
    return Job(
        number=number,
        positions=plan.selection.positions[rows],
        draws=draws,
        labels=_labels(labels, rows) if first else results.labels[draws],
        start=now.start,
        stop=now.stop,
        whole=first,
        partners=None if plan.partners is None else plan.partners[rows],
    )


def _labels(labels: NDArray[np.int64] | None, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.full(rows.size, OWN_ANSWER) if labels is None else labels[rows]


@contextmanager
def _timed(profile: Profile, progress: Progress) -> Iterator[None]:
    """Count the time of a pass in the profile, and end its progress, however it ends."""
    begun = time.perf_counter()
    try:
        yield
    finally:
        profile.wall += time.perf_counter() - begun
        progress.end()


def _check_model(plan: Plan) -> None:
    """Make sure that what was evaluated last is still the model that was hashed.

    Asked before a shard is written. ONNX Runtime maps external data into memory, so whoever writes
    into that file changes the model that runs.

    Raises:
        RunConflictError: if it is not.
    """
    changed = plan.classifier.facts.changed()
    if changed is not None:
        raise RunConflictError(
            f"{changed}: changed during the run; what was finished before is kept for the model as "
            "it was: put it back and run the same command again, or give another output"
        )


def _check_images(
    plan: Plan, workspace: Workspace, results: Results, piece: Piece, shard: Shard
) -> None:
    """Make sure that images are those of the plan, and in a later pass those of the first.

    A worker opens the source by itself, and files may have been added to a folder since.

    Raises:
        RunConflictError: with the first that has changed during the run.
    """
    ids = plan.selection.source.ids
    found = zip(shard["image"].tolist(), shard["image_id"], strict=True)
    others = [ids[position] for position, name in found if ids[position] != name]
    name = others[0] if others else results.changed(piece, shard)
    if name is not None:
        raise RunConflictError(
            f"{workspace.folder}: the image {name} has changed during the run; put it back and run "
            "the same command again, or add `overwrite=True`"
        )


def _is_finished(
    plan: Plan,
    workspace: Workspace,
    progress: Progress,
    number: int,
    results: Results,
) -> bool:
    """Whether a shard is there, whole, and of the images as they are now.

    A shard with failed images does not count, unless these are to be skipped: the images may have
    been mended.

    Raises:
        RunConflictError: if an image has changed since, and must not be evaluated again.
    """
    try:
        shard = workspace.read(number, results.positions(results.pieces[number]))
        if shard is not None and not results.fits(results.pieces[number], shard):
            raise ArchiveError(f"{workspace.path(number)}: damaged shard")
    except ArchiveError as error:
        progress.warn(f"{error}; it is evaluated again")
        return False
    if shard is None or (shard.failures and plan.options.on_bad_image == "error"):
        return False
    changed = plan.selection.first_changed(shard["image"].tolist(), shard["image_sha256"])
    if changed is None:
        return True
    if not plan.options.overwrite:
        raise RunConflictError(
            f"{workspace.folder}: holds an unfinished run over other images: image {changed} has "
            "changed since; give the same images, another output, or `overwrite=True` to evaluate "
            "the changed ones again"
        )
    progress.warn(f"image {changed} has changed since; its shard is evaluated again")
    return False


def _line(plan: Plan, steps: int, found: Estimate) -> str:
    """The estimate so far, for people."""
    schedule = plan.schedule
    images = min(steps, schedule.images)
    passes = -(-steps // schedule.images)
    pairs = f", {passes} pairs each" if passes > 1 else ""
    error = float(found.standard_error.max())
    return (
        f"{schedule.cost(steps):,} evaluations, {images:,} of {schedule.images:,} images{pairs}: "
        f"largest standard error of phi {error:.4f} nats, SIS {found.sis:.3f} "
        f"[{found.sis_low:.3f}, {found.sis_high:.3f}]"
    )

"""More evaluations for a sampled archive, as if its run had been given a larger budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import (
    Archive,
    Failure,
    Shard,
    Workspace,
    describe_differences,
    open_archive,
)
from iaside_onnx.engine.archived import archived_input, archived_options
from iaside_onnx.engine.decomposition import run_and_assemble
from iaside_onnx.engine.plan import LIMITS, Plan, SamplePlan, make_plan
from iaside_onnx.engine.progress import LogProgress, Progress
from iaside_onnx.engine.schedule import Piece
from iaside_onnx.errors import ArchiveError, OptionError, RunConflictError

__all__ = ["extend"]

# Whatever the archive's run was told.
_FIXED = {"method": "sampled", "overwrite": False, "profile": None}


def extend(
    archive: str | Path,
    *,
    budget: int | None = None,
    target_se: float | None = None,
    target_sis_width: float | None = None,
    model: str | Path | None = None,
    images: str | Path | NDArray[Any] | None = None,
    progress: Progress | None = None,
) -> Archive:
    """Go on with a sampled archive where it stopped, with the options that it was made with.

    What it holds is kept, and the result is that of a single longer run, but for the rounding of
    batches that are cut elsewhere. The archive is replaced when all is done; the same call again
    resumes one that was interrupted.

    Args:
        archive: made by `iaside_onnx.decompose` with the method ``sampled``.
        budget: evaluations in all, those that the archive has included.
        target_se: see `iaside_onnx.Options`.
        target_sis_width: see `iaside_onnx.Options`.
        model: the ONNX file, if it is not where it was.
        images: the images, if they are not where they were.
        progress: listens to the run; by default the logger ``iaside_onnx``.

    Returns:
        The finished archive.

    Raises:
        IasideError: with one sentence that says what is wrong and what to do. The archive is as it
            was, and what was evaluated is kept beside it.
    """
    progress = progress or LogProgress()
    old = open_archive(archive)
    if old.metadata.sample is None:
        raise ArchiveError(f"{archive}: holds every coalition of its images: nothing is left to do")
    limits = {"budget": budget, "target_se": target_se, "target_sis_width": target_sis_width}
    if all(value is None for value in limits.values()):
        raise OptionError("say how far to go: a budget, or a target")
    plan, sample = _plan(old, limits, model, images, progress)
    workspace = Workspace(Path(archive), progress.warn)
    if sample.limit <= sample.rounds[-1]:
        spent = sample.schedule.cost(sample.rounds[-1])
        progress.say(f"{archive} has {spent:,} evaluations already")
        if _is_left_over(old, workspace):
            with workspace.lock():
                workspace.clear()
        return old
    _check_images(old, plan)
    with workspace.lock():
        _check_same_archive(old)
        started = _claim(old, plan, workspace)
        _unpack(old, plan, sample, workspace)
        run_and_assemble(plan, workspace, started, progress)
        workspace.clear()
    return open_archive(archive)


def _plan(
    old: Archive, limits: Mapping[str, Any], model: Any, images: Any, progress: Progress
) -> tuple[Plan, SamplePlan]:
    """The archive's run with other limits.

    Raises:
        IasideError: if the model, the images or the options cannot be had, or are not the same.
    """
    options = archived_options(old, {**limits, **_FIXED})
    source = archived_input(old, "images", images)
    # A batch size that was searched for is kept.
    before = {**old.metadata.options["resolved"], **limits}
    plan = make_plan(archived_input(old, "model", model), source, options, progress, [before])
    _check_same(old, plan)
    assert plan.sample is not None  # noqa: S101  # for the checker: the method is `sampled`
    sample = replace(plan.sample, rounds=_rounds(old, plan.sample))
    return replace(plan, sample=sample), sample


def _check_images(old: Archive, plan: Plan) -> None:
    """Make sure that the images are what they were, before anything is made.

    Raises:
        RunConflictError: with the first that has changed.
    """
    changed = plan.selection.first_changed(old["image"].tolist(), old["image_sha256"])
    if changed is not None:
        raise RunConflictError(
            f"{old.path}: cannot be extended over other images: image {changed} has changed since; "
            "give the images that it was made with"
        )


def _check_same_archive(old: Archive) -> None:
    """Make sure that the archive is still the one that was read before it was locked.

    Raises:
        RunConflictError: if it is not.
    """
    now, before = (
        (meta.digest, meta.finished, meta.sample)
        for meta in (open_archive(old.path).metadata, old.metadata)
    )
    if now != before:
        raise RunConflictError(
            f"{old.path}: was extended by another process meanwhile; run the same command again"
        )


def _claim(old: Archive, plan: Plan, workspace: Workspace) -> str:
    """Make the folder of work this extension's; when the archive's run was first started.

    Raises:
        RunConflictError: if it is that of another unfinished run.
    """
    # By what it holds, as clocks go backwards; those of before there was a digest by their time.
    identity = {**plan.identity, "extends": old.metadata.digest or old.metadata.finished}
    left = workspace.identity()
    done = _is_left_over(old, workspace)
    if left is not None and left != identity and not done:
        raise RunConflictError(
            f"{workspace.folder}: holds an unfinished run with other options: "
            f"{describe_differences(identity, left)}; finish it with the same options, or delete "
            "that folder"
        )
    return workspace.claim(identity, old.metadata.started, overwrite=done)


def _rounds(old: Archive, sample: SamplePlan) -> tuple[int, ...]:
    """Steps after each round of the archive's run.

    Raises:
        ArchiveError: if they are not there, or are none.
    """
    rounds = (old.metadata.sample or {}).get("rounds")
    whole = isinstance(rounds, list) and all(type(steps) is int for steps in rounds)
    if not whole or not rounds or rounds != sorted({*rounds}):
        rounds = [0]
    if not 0 < rounds[0] <= rounds[-1] <= sample.schedule.steps:
        raise ArchiveError(
            f"{old.path}: the attribute 'sample' does not say how far the run went; the archive is "
            "damaged or was edited"
        )
    return tuple(rounds)


def _is_left_over(old: Archive, workspace: Workspace) -> bool:
    """Whether the folder of work is that of the run that made the archive, killed at its end."""
    left = workspace.identity()
    if left is None:
        # Clearing up begins with the plan.
        return workspace.folder.is_dir()
    left.pop("extends", None)
    return bool(left == old.metadata.options["resolved"])


def _check_same(old: Archive, plan: Plan) -> None:
    """Make sure that the model, the images and the options are those of the archive.

    Raises:
        RunConflictError: with what differs.
    """
    before, now = (
        {name: value for name, value in identity.items() if name not in LIMITS}
        for identity in (old.metadata.options["resolved"], plan.identity)
    )
    if before != now:
        raise RunConflictError(
            f"{old.path}: cannot be extended by what differs in: "
            f"{describe_differences(now, before)}; give what it was made with"
        )


def _unpack(old: Archive, plan: Plan, sample: SamplePlan, workspace: Workspace) -> None:
    """Make shards of what the archive holds, where they are not there yet."""
    start = number = 0
    failed = _failures(old)
    for stop in sample.rounds:
        for piece in sample.schedule.pieces(start, stop):
            if not workspace.path(number).exists():
                workspace.write(number, _shard(old, plan, sample, piece, failed))
            number += 1
        start = stop


def _failures(old: Archive) -> dict[int, Failure]:
    if "failed" not in old.names:
        return {}
    rows = zip(old["failed"].tolist(), old["failed_id"], old["failed_reason"], strict=True)
    return {position: Failure(position, str(name), str(why)) for position, name, why in rows}


def _shard(
    old: Archive, plan: Plan, sample: SamplePlan, piece: Piece, failed: Mapping[int, Failure]
) -> Shard:
    turn = sample.schedule.turns[piece.turn]
    draw, pairs = old["draw"], old["pairs"]
    rows = np.flatnonzero((draw >= piece.start) & (draw < piece.stop) & (pairs >= turn.last))
    start, stop = (int(rows[0]), int(rows[-1]) + 1) if rows.size else (0, 0)
    positions = plan.selection.positions[sample.order[piece.start : piece.stop]].tolist()
    once = piece.turn == 0
    nothing = np.full(rows.size, np.nan, dtype=np.float32)
    return Shard(
        image=old["image"][rows],
        image_id=old["image_id"][rows].tolist(),
        image_sha256=old["image_sha256"][rows].tolist(),
        label=old["label"][rows],
        predicted=old["predicted"][rows] if once else np.full(rows.size, -1),
        worth=old.worth(start, stop)[rows - start, turn.start : turn.stop],
        phi_image=np.full((rows.size, plan.options.bands), np.nan),
        log_probability_whole=old["log_probability_whole"][rows] if once else nothing,
        log_probability_empty=old["log_probability_empty"][rows] if once else nothing,
        floored=old["floored"][rows] if once else np.zeros(rows.size, dtype=np.int64),
        failures=tuple(failed[p] for p in positions if p in failed) if once else (),
        batch_size=int(plan.evaluator.predictor.batch_size),
    )

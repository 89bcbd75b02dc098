"""More evaluations for a sampled archive, as if its run had been given a larger budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.analysis import design_of, refuse_damaged
from iaside_onnx.archive import (
    Archive,
    Failure,
    Recipe,
    Shard,
    Workspace,
    describe_differences,
    open_archive,
)
from iaside_onnx.errors import ArchiveError, OptionError, RunConflictError
from iaside_onnx.files import stamp_of
from iaside_onnx.images import ClassesLike
from iaside_onnx.model import PreprocessLike
from iaside_onnx.progress import Progress, listener
from iaside_onnx.runs.archived import Moved, archived_inputs, archived_options
from iaside_onnx.runs.decomposition import execute
from iaside_onnx.runs.keywords import named_options
from iaside_onnx.runs.options import LIMITS, Labels
from iaside_onnx.runs.planning import Plan, make_plan, recipe_threads
from iaside_onnx.runs.schedule import Piece, Schedule

__all__ = ["extend"]

# Variables of an image that the shard of every pass holds.
_EVERY_PASS: tuple[str, ...] = ("image", "image_id", "image_sha256", "label")


@named_options()
def extend(
    archive: str | Path,
    *,
    budget: int | None = None,
    target_se: float | None = None,
    target_sis_width: float | None = None,
    model: str | Path | None = None,
    images: str | Path | NDArray[Any] | None = None,
    labels: Labels | None = None,
    classes: ClassesLike | None = None,
    preprocess: PreprocessLike | None = None,
    workers: int = 1,
    progress: Progress | bool | None = True,
) -> Archive:
    """Go on with a sampled archive where it stopped, with the options that it was made with.

    What it holds is kept. The result is that of a single longer run, except for the rounding of
    batches that are cut elsewhere. The archive is replaced when all is done. The same call again
    resumes one that was interrupted.

    Args:
        archive: made by `iaside_onnx.decompose` with the method ``sampled``.
        budget: evaluations in all, those that the archive has included.
        target_se: see `iaside_onnx.Options`.
        target_sis_width: see `iaside_onnx.Options`.
        model: the ONNX file, if it is not where it was.
        images: the images, if they are not where they were.
        labels: the labels, if they are not where they were, or were an array.
        classes: the class indices, likewise.
        preprocess: the specification, likewise.
        workers: see `iaside_onnx.Options`.
        progress: as in `iaside_onnx.decompose`.

    Returns:
        The finished archive.

    Raises:
        ArchiveError: if `verify` finds fault with the archive, which is then left as it is.
        IasideError: with one sentence that says what is wrong and what to do. The archive is as it
            was, and what was evaluated is kept beside it.
    """
    progress = listener(progress)
    moved: Moved = {"labels": labels, "classes": classes, "preprocess": preprocess}
    stamp = stamp_of(Path(archive))
    old = open_archive(archive)
    if not design_of(old).sequential:
        raise ArchiveError(f"{archive}: holds every coalition of its images: nothing is left to do")
    limits = {"budget": budget, "target_se": target_se, "target_sis_width": target_sis_width}
    if all(value is None for value in limits.values()):
        raise OptionError("say how far to go: a budget, or a target")
    # A damaged or edited archive must not get a new and valid digest.
    refuse_damaged(old.path, "extended")
    plan = _plan(old, limits, {"workers": workers}, model, images, moved, progress)
    workspace = Workspace(Path(archive), progress.warn)
    if plan.limit <= plan.rounds[-1]:
        spent = plan.schedule.cost(plan.rounds[-1])
        progress.say(f"{archive} has {spent:,} evaluations already")
        if _is_left_over(old, workspace):
            with workspace.lock():
                workspace.clear()
        return old
    _check_images(old, plan)
    with workspace.lock():
        _check_same_archive(old, stamp)
        started = _claim(old, plan, workspace)
        _unpack(old, plan, workspace)
        execute(plan, workspace, started, progress)
        workspace.clear()
    return open_archive(archive)


def _plan(
    old: Archive,
    limits: Mapping[str, Any],
    execution: Mapping[str, Any],
    model: Any,
    images: Any,
    moved: Moved,
    progress: Progress,
) -> Plan:
    """The run of the archive with other limits.

    Raises:
        IasideError: if the model, the images or the options cannot be had, or are not the same.
    """
    changes = {**limits, **execution, "method": old.recipe.method, "overwrite": False,
               "profile": None, **_threads(old)}  # fmt: skip
    options = archived_options(old, changes, moved)
    inputs = archived_inputs(old, options, model, images)
    # A batch size that was searched for is kept.
    before = replace(old.recipe, **limits, threads=recipe_threads(options))
    plan = make_plan(inputs, options, progress, [before])
    _check_same(old, plan)
    return replace(plan, rounds=_rounds(old, plan.schedule))


def _threads(old: Archive) -> dict[str, Any]:
    """The threads of each worker as they were, however many workers there are now."""
    threads = old.recipe.threads
    return {"threads": threads} if isinstance(threads, int) else {}


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


def _check_same_archive(old: Archive, stamp: tuple[int, ...] | None) -> None:
    """Make sure that the archive is still the one that was checked before it was locked.

    Raises:
        RunConflictError: if it is not.
    """
    if stamp_of(old.path) != stamp:
        raise RunConflictError(
            f"{old.path}: was extended by another process meanwhile; run the same command again"
        )


def _claim(old: Archive, plan: Plan, workspace: Workspace) -> str:
    """Make the folder of work this extension's; when the run of the archive was first started.

    Raises:
        RunConflictError: if it is that of another unfinished run.
    """
    # By its digest, as clocks go backwards; archives older than digests by their time.
    recipe = replace(plan.recipe, extends=old.metadata.digest or old.metadata.finished)
    left = workspace.identity()
    done = _is_left_over(old, workspace)
    if left is not None and left != recipe.to_json() and not done:
        raise RunConflictError(
            f"{workspace.folder}: holds an unfinished run with other options: "
            f"{describe_differences(recipe.to_json(), left)}; finish it with the same options, or "
            "delete that folder"
        )
    return workspace.claim(recipe.to_json(), old.metadata.started, overwrite=done)


def _rounds(old: Archive, schedule: Schedule) -> tuple[int, ...]:
    """Steps after each round of the run of the archive.

    Raises:
        ArchiveError: if they are not there, or are none.
    """
    rounds = (old.metadata.sample or {}).get("rounds")
    whole = isinstance(rounds, list) and all(type(steps) is int for steps in rounds)
    if not whole or not rounds or rounds != sorted({*rounds}):
        rounds = [0]
    if not 0 < rounds[0] <= rounds[-1] <= schedule.steps:
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
    try:
        return replace(Recipe.from_json(left), extends=None) == old.recipe
    except ValueError:
        return False


def _check_same(old: Archive, plan: Plan) -> None:
    """Make sure that the model, the images and the options are those of the archive.

    Raises:
        RunConflictError: with what differs.
    """
    # Workers share the cores. Like batches that are cut elsewhere, that changes the rounding.
    aside = [*LIMITS, "threads"] if plan.options.workers > 1 else LIMITS
    differences = plan.recipe.differences(old.recipe, ignoring=aside)
    if differences:
        raise RunConflictError(
            f"{old.path}: cannot be extended by what differs in: {differences}; give what it was "
            "made with"
        )


def _unpack(old: Archive, plan: Plan, workspace: Workspace) -> None:
    """Make shards of what the archive holds, where they are not there yet."""
    start = number = 0
    failed = _failures(old)
    for stop in plan.rounds:
        for piece in plan.schedule.pieces(start, stop):
            if not workspace.path(number).exists():
                workspace.write(number, _shard(old, plan, piece, failed))
            number += 1
        start = stop


def _failures(old: Archive) -> dict[int, Failure]:
    if "failed" not in old.names:
        return {}
    rows = zip(old["failed"].tolist(), old["failed_id"], old["failed_reason"], strict=True)
    return {position: Failure(position, str(name), str(why)) for position, name, why in rows}


def _shard(old: Archive, plan: Plan, piece: Piece, failed: Mapping[int, Failure]) -> Shard:
    """What the archive holds of a piece, as the run would have written it."""
    now = plan.schedule.design.passes[piece.number]
    draws, replicates = old.draws, old.replicates
    inside = (draws >= piece.start) & (draws < piece.stop) & (replicates >= now.last)
    rows = np.flatnonzero(inside)
    start, stop = (int(rows[0]), int(rows[-1]) + 1) if rows.size else (0, 0)
    first = piece.number == 0
    names = _EVERY_PASS
    if first:
        names = tuple(name for name, variable in old.declared.items() if variable.sharded)
    values: dict[str, Any] = {name: old[name][rows] for name in names if name != "worth"}
    values |= {name: array.tolist() for name, array in values.items() if array.dtype.kind == "U"}
    values["worth"] = old.worth(start, stop)[rows - start, now.start : now.stop]
    # The archive holds the sum over all passes: it is counted in the first.
    values.setdefault("floored", np.zeros(rows.size, dtype=np.int64))
    positions = plan.selection.positions[plan.order[piece.start : piece.stop]].tolist()
    failures = tuple(failed[p] for p in positions if p in failed) if first else ()
    return Shard(values, failures, int(plan.evaluator.predictor.batch_size))

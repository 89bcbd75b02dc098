"""Evaluates a sample of coalitions, round by round, until a budget or a precision is reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Failure, Shard, Workspace, collect
from iaside_onnx.engine.evaluation import Task, Worker, check_model, is_finished, make_shard
from iaside_onnx.engine.findings import Findings
from iaside_onnx.engine.local import timed
from iaside_onnx.engine.plan import Plan, SamplePlan
from iaside_onnx.engine.progress import Progress
from iaside_onnx.engine.schedule import Piece
from iaside_onnx.errors import ArchiveError, RunConflictError
from iaside_onnx.game import Estimate, estimate_blocks, next_end
from iaside_onnx.types import Coalitions, Phi, Worth

__all__ = ["Sample", "run_rounds"]

_ROWS = 256
"""Images whose slots are put together at a time."""


class Sample:
    """What has been evaluated, and what it says.

    Arrays have a row for each image, in the order of the draw; those that failed have no pairs.

    Attributes:
        plan: the run.
        workspace: where the shards are.
        sample: what is drawn, and how much of it.
        pieces: what each shard holds, in order.
        rounds: steps after each round.
        labels: class index that the worths are about, ``(n,)``.
        forward: gains summed over the orders of all pairs, ``(n, bands)`` in nats.
        backward: likewise over their reverses.
        pairs: how many there are, ``(n,)``.
        floored: how many worths were raised to the smallest probability, ``(n,)``.
        hashes: SHA-256 of the images as they were in the first pass, ``(n,)``.
        later: images that failed in a later pass; their earlier pairs are kept.
        batch_size: the smallest of all shards.
    """

    def __init__(self, plan: Plan, sample: SamplePlan, workspace: Workspace) -> None:
        self.plan = plan
        self.sample = sample
        self.pieces: list[Piece] = []
        self.rounds: list[int] = []
        self.labels = np.zeros(0, dtype=np.int64)
        self.forward = np.zeros((0, plan.options.bands))
        self.backward = np.zeros((0, plan.options.bands))
        self.pairs = np.zeros(0, dtype=np.int64)
        self.floored = np.zeros(0, dtype=np.int64)
        self.hashes = np.zeros(0, dtype="S64")
        self.later: list[Failure] = []
        self.batch_size = 0
        self.workspace = workspace
        self._read: dict[int, tuple[int, Shard]] = {}

    def rows(self, draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the selection that are drawn at these places."""
        return self.sample.order[draws]

    def draws(self, piece: Piece) -> NDArray[np.int64]:
        """Places whose images a piece evaluates: in later passes not those that have failed."""
        every = np.arange(piece.start, piece.stop)
        before = self.sample.schedule.turns[piece.turn].first
        return every if piece.turn == 0 else every[self.pairs[every] >= before]

    def positions(self, piece: Piece) -> NDArray[np.int64]:
        """Positions in the source of the images of a piece."""
        return self.plan.selection.positions[self.rows(self.draws(piece))]

    def shard(self, number: int) -> Shard:
        """Read a shard back.

        Raises:
            ArchiveError: if it is gone or damaged.
        """
        turn = self.pieces[number].turn
        if self._read.get(turn, (-1,))[0] != number:
            shard = self.workspace.read(number, self.positions(self.pieces[number]))
            if shard is None:
                raise ArchiveError(
                    f"{self.workspace.path(number)}: missing; run the same command again"
                )
            self._read[turn] = number, shard
        return self._read[turn][1]

    def worths(self, start: int, stop: int) -> Worth:
        """Worths of the images drawn at a run of places, ``(n, slots)``, NaN: not evaluated."""
        turns = self.sample.schedule.turns
        most = max(turns[piece.turn].stop for piece in self.pieces)
        worth = np.full((stop - start, most), np.nan, dtype=np.float32)
        for number, piece in enumerate(self.pieces):
            if piece.start < stop and piece.stop > start:
                shard = self.shard(number)
                done = self._done(piece, shard)
                here = (done >= start) & (done < stop)
                turn = turns[piece.turn]
                worth[done[here] - start, turn.start : turn.stop] = shard.worth[here]
        return worth

    def _done(self, piece: Piece, shard: Shard) -> NDArray[np.int64]:
        """The places of the images in a shard; others of the piece have failed."""
        places = self.draws(piece)
        return places[np.isin(self.positions(piece), shard.image)]

    def tables(self) -> Iterator[tuple[Coalitions, Worth]]:
        """Coalitions and worths of the images that have any, ``(n, slots)`` each, some at a time.

        A worth is NaN, and its coalition 0, where nothing was evaluated.
        """
        design = self.sample.schedule.design
        for start in range(0, self.pairs.size, _ROWS):
            places = np.arange(start, min(start + _ROWS, self.pairs.size))
            places = places[self.pairs[places] > 0]
            worth = self.worths(start, start + _ROWS)[places - start]
            coalitions = np.zeros(worth.shape, dtype=np.uint64)
            for row, place in enumerate(places.tolist()):
                filled = int(design.layout.ends[self.pairs[place]])
                coalitions[row, :filled] = design.coalitions(place, 0, filled)
            yield coalitions, worth

    def add(self, piece: Piece, number: int, shard: Shard) -> None:
        """Take in what a shard says; shards come in order."""
        self._read[piece.turn] = number, shard
        self.batch_size = min(self.batch_size or shard.batch_size, shard.batch_size)
        if piece.turn == 0:
            grown = piece.stop - self.pairs.size
            for name in ("labels", "pairs", "floored", "hashes", "forward", "backward"):
                array = getattr(self, name)
                empty = np.zeros((grown, *array.shape[1:]), dtype=array.dtype)
                setattr(self, name, np.concatenate([array, empty]))
        else:
            self.later.extend(shard.failures)
        done = self._done(piece, shard)
        schedule = self.sample.schedule
        turn = schedule.turns[piece.turn]
        worth = self.worths(piece.start, piece.stop)[done - piece.start]
        forward, backward = schedule.design.gains(worth, done, turn.first, turn.last)
        self.forward[done] += forward
        self.backward[done] += backward
        self.pairs[done] += turn.last - turn.first
        self.floored[done] += shard.floored
        if piece.turn == 0:
            self.labels[done] = shard.label
            self.hashes[done] = shard.image_sha256

    def check_images(self, piece: Piece, shard: Shard) -> None:
        """Make sure that the images of a later pass are those of the first.

        Raises:
            RunConflictError: with the first that has changed during the run.
        """
        if piece.turn == 0:
            return
        known = self.hashes[self._done(piece, shard)]
        now = np.array(shard.image_sha256, dtype=known.dtype)
        if (known != now).any():
            name = shard.image_id[int(np.argmax(known != now))]
            raise RunConflictError(
                f"{self.workspace.folder}: the image {name} has changed during the run; put it "
                "back and run the same command again, or add --overwrite"
            )

    def estimate(self) -> Estimate | None:
        """Phi, psi and SIS with intervals, as known so far; None without any image."""
        done = np.flatnonzero(self.pairs)
        if not done.size:
            return None
        pairs = self.pairs[done, None]
        # Class shares are known of these images; of what they were drawn from they are not.
        strata = None if self.plan.population is None else self.plan.selection.strata
        return estimate_blocks(
            self.forward[done] / pairs,
            self.backward[done] / pairs,
            done // self.plan.options.bands,
            None if strata is None else strata[self.rows(done)],
            self.plan.population,
        )

    def contributions(self) -> Phi:
        """Estimated contributions of each image that has pairs, ``(n, bands)`` in nats."""
        done = self.pairs > 0
        return np.asarray((self.forward + self.backward)[done] / (2 * self.pairs[done, None]))

    def findings(self) -> Findings:
        """All that the archive is made from.

        Raises:
            ArchiveError: if a shard is missing or damaged.
        """
        done = np.flatnonzero(self.pairs)
        found = self.estimate()
        firsts = [piece for piece in self.pieces if piece.turn == 0]
        summary = replace(
            collect(self.workspace, map(self.positions, firsts)),
            phi_image=self.contributions(),
            floored=self.floored[done],
            batch_size=self.batch_size,
        )
        if self.plan.options.on_bad_image == "error":
            summary = replace(summary, failures=(*summary.failures, *self.later))
        schedule = self.sample.schedule
        slots = max(schedule.turns[piece.turn].stop for piece in self.pieces)
        values: dict[str, NDArray[Any]] = {
            "slot": np.arange(slots),
            "draw": done,
            "block": done // self.plan.options.bands,
            "pairs": self.pairs[done],
        }
        if found is not None:
            values["phi_se"] = found.standard_error
        if self.plan.selection.strata is not None:
            values["stratum"] = self.plan.selection.strata[self.rows(done)]
        told = {
            "evaluations": schedule.cost(self.rounds[-1]),
            "images": schedule.images,
            "rounds": self.rounds,
            "shifts": schedule.design.layout.shifts.tolist(),
        }
        return Findings(summary, found, self.tables(), values, told, self._notes(found))

    def _notes(self, found: Estimate | None) -> list[str]:
        """What was not reached."""
        notes = []
        sample, schedule = self.sample, self.sample.schedule
        missing = np.nan if found is None else sample.missing(found)
        if sample.has_target and not missing <= 1:
            why = (
                "the budget is spent: raise it"
                if self.rounds[-1] < schedule.steps
                else "every image has all of its pairs: only more images, or --method exact where "
                "these images alone are asked about, can help"
            )
            how = "unknown" if np.isnan(missing) else f"{missing:.2f} times as wide"
            notes.append(f"the precision asked for was not reached ({how}); {why}")
        asked = self.plan.options.budget
        if asked is not None and self.rounds[-1] == schedule.steps and not sample.has_target:
            notes.append(
                f"every image has all of its pairs: {schedule.cost(schedule.steps):,} of the "
                f"{asked:,} evaluations of the budget were enough; only --method exact does more"
            )
        if found is not None and np.isnan(found.standard_error).any():
            notes.append("a single image was evaluated: there are no intervals; take more images")
        if self.later:
            notes.append(
                f"{len(self.later)} images failed after their first pair, which is kept; the first "
                f"is {self.later[0].image_id} ({self.later[0].reason.rstrip('.')})"
            )
        return notes


def run_rounds(plan: Plan, workspace: Workspace, progress: Progress) -> Sample:
    """Evaluate until the budget is spent or the precision reached; the workspace must be claimed.

    Where rounds end depends on what was evaluated alone, so a run that goes on after a kill makes
    the same shards.

    Raises:
        ArchiveError: if a shard cannot be written; those before it are kept.
        RunConflictError: if an image of an earlier shard has changed since.
    """
    assert plan.sample is not None  # noqa: S101  # for the checker: the method is `sampled`
    sample = Sample(plan, plan.sample, workspace)
    plan.evaluator.predictor.profile.clear()
    earlier = list(plan.sample.rounds)
    limit = plan.sample.limit
    done, missing = 0, np.nan
    while done < limit:
        end = earlier.pop(0) if earlier else _next(plan.sample, done, missing)
        _run_round(sample, done, end, progress)
        sample.rounds.append(end)
        done = end
        found = sample.estimate()
        missing = np.nan if found is None else plan.sample.missing(found)
        if found is not None:
            progress.say(_line(plan.sample, done, found))
        if missing <= 1 and not earlier:
            break
    return sample


def _next(sample: SamplePlan, done: int, missing: float) -> int:
    """Steps at the end of the next round."""
    schedule = sample.schedule
    if done < schedule.images:
        blocks = next_end(schedule.blocks(done), missing if sample.has_target else None)
        end = min(blocks * schedule.design.bands, schedule.images)
    else:
        # Out of images: a pass more over all of them.
        end = (done // schedule.images + 1) * schedule.images
    return min(end, sample.limit)


def _run_round(sample: Sample, start: int, stop: int, progress: Progress) -> None:
    pieces = sample.sample.schedule.pieces(start, stop)
    for turn, group in groupby(pieces, key=lambda piece: piece.turn):
        _run_pass(sample, turn, list(group), progress)


def _run_pass(sample: Sample, turn: int, pieces: list[Piece], progress: Progress) -> None:
    """Evaluate the pieces of one pass that are not there yet, and take all of them in."""
    plan, workspace = sample.plan, sample.workspace
    first = len(sample.pieces)
    sample.pieces.extend(pieces)
    numbers = range(first, first + len(pieces))
    rows = [sample.rows(sample.draws(piece)) for piece in pieces]
    todo = {
        number
        for number, own in zip(numbers, rows, strict=True)
        if not is_finished(plan, workspace, progress, number, own)
    }
    design = sample.sample.schedule.design
    slots = sample.sample.schedule.turns[turn]
    tasks = [
        Task(
            int(sample.sample.order[draw]),
            design.coalitions(draw, slots.start, slots.stop),
            plan.selection.label_of(int(sample.sample.order[draw]))
            if turn == 0
            else int(sample.labels[draw]),
        )
        for number, piece in zip(numbers, pieces, strict=True)
        if number in todo
        for draw in sample.draws(piece).tolist()
    ]
    form = design.coalitions(0, slots.start, slots.stop)
    worker = Worker(plan, tasks, form, progress, whole=turn == 0)
    finished = sum(own.size for number, own in zip(numbers, rows, strict=True)) - len(tasks)
    if tasks:
        progress.begin(finished + len(tasks), finished, worker.evaluations)
    profile = plan.evaluator.predictor.profile
    with timed(plan, progress):
        for number, piece, own in zip(numbers, pieces, rows, strict=True):
            if number in todo:
                results, failures = worker.evaluate(own.size)
                shard = make_shard(plan, results, failures, form.size)
                check_model(plan)
                sample.check_images(piece, shard)
                with profile.phase("write"):
                    workspace.write(number, shard)
                profile.images += shard.image.size
                profile.evaluations += shard.image.size * worker.evaluations
            else:
                shard = sample.shard(number)
            sample.add(piece, number, shard)


def _line(sample: SamplePlan, steps: int, found: Estimate) -> str:
    """The estimate so far, for people."""
    schedule = sample.schedule
    images = min(steps, schedule.images)
    passes = -(-steps // schedule.images)
    pairs = f", {passes} pairs each" if passes > 1 else ""
    error = float(found.standard_error.max())
    return (
        f"{schedule.cost(steps):,} evaluations, {images:,} of {schedule.images:,} images{pairs}: "
        f"largest standard error of phi {error:.4f} nats, SIS {found.sis:.3f} "
        f"[{found.sis_low:.3f}, {found.sis_high:.3f}]"
    )

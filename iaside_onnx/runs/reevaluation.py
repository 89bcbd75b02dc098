"""Some worths of an archive, evaluated again: does this model still say so of these images?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.analysis import design_of
from iaside_onnx.archive import Archive, Shard, words_for
from iaside_onnx.progress import Progress
from iaside_onnx.runs.archived import Moved, archived_inputs, archived_options
from iaside_onnx.runs.dependence import rounding
from iaside_onnx.runs.jobs import Job
from iaside_onnx.runs.planning import Plan, make_plan
from iaside_onnx.types import Coalitions, Worth

__all__ = ["evaluate_again"]

_EACH = 8
"""Coalitions of an image that are evaluated together, at least."""

_EXACT_ENOUGH = 1e-2
_IMAGES = ("images_count", "images_digest", "labels")
_GAME = ("output", "output_kind", "bands", "partition", "spacing", "baseline", "mean_color",
         "pixel_range", "seed")  # fmt: skip
_PLACES = ("runtime", "runtime_version", "provider", "device")


def evaluate_again(
    archive: Archive, model: Any, images: Any, cells: int, moved: Moved, progress: Progress
) -> tuple[list[str], list[str]]:
    """Compare hashes of model and images, and some worths, with the archive.

    Args:
        archive: whole, as `iaside_onnx.analysis.check_archive` finds it.
        model: the ONNX file; None for where it was.
        images: as `iaside_onnx.decompose` takes them; None for where they were.
        cells: number of worths to evaluate, chosen at random.
        moved: where labels, classes and preprocessing are.
        progress: listens to the run.

    Returns:
        What is wrong, one sentence each, and what was looked at.

    Raises:
        IasideError: if the model or the images cannot be had or evaluated.
    """
    changes = {"overwrite": False, "profile": None, "workers": 1, "device": "auto",
               "provider": None, "provider_options": None}  # fmt: skip
    if design_of(archive).sequential:
        changes["method"] = archive.recipe.method
    options = archived_options(archive, changes, moved)
    inputs = archived_inputs(archive, options, model, images)
    plan = make_plan(inputs, options, progress, [archive.recipe])
    problems = list(_identity(archive, plan))
    here = ", ".join(str(getattr(plan.recipe, name)) for name in _PLACES)
    there = ", ".join(str(getattr(archive.metadata, name)) for name in _PLACES)
    where = f"on {here}" + ("" if here == there else f" (the archive: {there})")
    if problems:
        return problems, [f"model and images {where}"]
    problems, count, largest = _compare(archive, plan, cells, progress, same_place=here == there)
    asked = "" if count >= cells else f" (all that there are, of {cells} asked for)"
    how = f"largest difference {largest:.1e} nats"
    looked = f"{count} worths evaluated again{asked} {where}, {how}"
    if plan.recipe.nondeterministic is not None and not np.isnan(largest):
        why = plan.recipe.nondeterministic
        return [], [f"{looked}; they are not held to it, as answers are no function of the image "
                    f"({why})"]  # fmt: skip
    return problems, [looked]


def _identity(archive: Archive, plan: Plan) -> Iterator[str]:
    facts, meta, recipe = plan.classifier.facts, archive.metadata, archive.recipe
    source, selection = plan.selection.source.describe(), plan.selection
    if facts.sha256 != meta.model_sha256 or dict(facts.external) != meta.model_external:
        yield (
            f"{facts.path} is another model: its SHA-256 is {facts.sha256[:16]}..., not "
            f"{meta.model_sha256[:16]}..."
        )
    differ = plan.recipe.differing(recipe, _IMAGES)
    if differ:
        yield (
            f"{source} holds other images than the archive, or other names or labels: "
            f"{words_for(sorted(differ))} differ"
        )
        return
    differ = plan.recipe.differing(recipe, _GAME)
    if differ:
        yield f"the options do not say what was done: {words_for(sorted(differ))} differ"
    positions = archive["image"]
    if not np.isin(positions, selection.positions).all():
        yield f"{source} does not hold the images of the archive"
        return
    rows = np.searchsorted(selection.positions, positions)
    labels = selection.labels
    if labels is not None and (archive["label"] != labels[rows]).any():
        yield "the labels of the archive are not those of the images"
    names = [selection.source.ids[position] for position in positions.tolist()]
    if archive["image_id"].tolist() != names:
        yield "the names of the archive's images are not those of the images at their positions"
    changed = selection.first_changed(positions.tolist(), archive["image_sha256"])
    if changed is not None:
        yield f"the image {changed} has changed since: its SHA-256 is another"
    if plan.recipe.batch_rule == "alone" != recipe.batch_rule and recipe.batch_size != 1:
        yield (
            f"it was made with {recipe.batch_size} images at a time by an earlier version, though "
            "this model's answer about an image depends on the images beside it: make it again"
        )
    if plan.recipe.nondeterministic and not recipe.nondeterministic:
        yield f"answers are no function of the image: {plan.recipe.nondeterministic}"
    if facts.precision != meta.precision:
        yield f"the model's precision is {facts.precision}, not {meta.precision}"
    prepared = plan.recipe.preprocess
    if prepared != {**prepared, **meta.preprocess}:
        yield "images are prepared otherwise than they were: give the model with its preprocessing"


def _compare(
    archive: Archive, plan: Plan, cells: int, progress: Progress, *, same_place: bool
) -> tuple[list[str], int, float]:
    """What is not what it was, how many worths were compared, and the largest difference.

    The worths are drawn anew each time, so nobody can know beforehand which.
    """
    rng = np.random.default_rng()
    images = archive["image"].size
    rows = np.sort(rng.permutation(images)[: max(-(-cells // _EACH), 1)])
    each = max(-(-cells // rows.size), min(cells, _EACH))
    design = plan.schedule.design
    filled = np.array([design.slots(int(count)) for count in archive.replicates[rows]])
    progress.begin(rows.size, 0, each)
    chosen = [
        _choose(archive, plan, number, rows[filled == count], int(count), each, rng)
        for number, count in enumerate(np.unique(filled))
    ]
    found: list[_Difference] = []
    problems: list[str] = []
    jobs = [job for job, _ in chosen]
    for job, shard in plan.evaluator.evaluate(jobs, progress.advance):
        problems += [
            f"image {failure.image_id} fails now: {failure.reason}" for failure in shard.failures
        ]
        if not shard.failures:
            found += _differences(archive, job, chosen[job.number][1], shard)
    progress.end()
    if problems:
        return problems, 0, float("nan")
    return (
        _problems(archive, found, *rounding(plan.classifier, same_place=same_place)),
        sum(d.found.size for d in found),
        max(float(d.size.max()) for d in found),
    )


def _choose(
    archive: Archive,
    plan: Plan,
    number: int,
    rows: NDArray[np.int64],
    filled: int,
    each: int,
    rng: np.random.Generator,
) -> tuple[Job, NDArray[np.int64]]:
    """A job for some coalitions of some images, and their columns in the archive.

    The empty and the full coalition come first: both are always asked for.

    Args:
        archive: where the worths are.
        plan: of the evaluation.
        number: of the job.
        rows: of the images in the archive, ``(n,)``.
        filled: number of worths that each of them has.
        each: number of coalitions of an image.
        rng: draws the others.
    """
    design = plan.schedule.design
    ends = [0, design.full_slot % filled]
    others = np.setdiff1d(np.arange(filled), ends)
    columns = np.array(
        [[*ends, *np.sort(rng.permutation(others)[: max(each - 2, 0)])] for _ in rows]
    )
    masks = [
        archive.coalitions(row, row + 1)[0, own] for row, own in zip(rows, columns, strict=True)
    ]
    places = np.searchsorted(plan.selection.positions, archive["image"][rows])
    job = Job(
        number=number,
        positions=archive["image"][rows],
        draws=rows,
        labels=archive["label"][rows],
        start=0,
        stop=columns.shape[1],
        partners=None if plan.partners is None else plan.partners[places],
        masks=np.stack(masks),
    )
    return job, columns


@dataclass(frozen=True, slots=True)
class _Difference:
    """What some worths of an image were, and what they are.

    Attributes:
        row: of the image in the archive.
        masks: the coalitions, ``(n,)``.
        stored: their worths in the archive, ``(n,)``.
        found: their worths now, ``(n,)``.
        predicted: class that the model gives the image now.
    """

    row: int
    masks: Coalitions
    stored: Worth
    found: Worth
    predicted: int

    @property
    def size(self) -> NDArray[np.float64]:
        """Absolute differences, ``(n,)``."""
        return np.abs(self.found.astype(np.float64) - self.stored)


def _differences(
    archive: Archive, job: Job, columns: NDArray[np.int64], shard: Shard
) -> Iterator[_Difference]:
    assert job.masks is not None  # noqa: S101  # for the checker: `_choose` sets it
    for i, row in enumerate(job.draws.tolist()):
        stored = archive.worth(row, row + 1)[0, columns[i]]
        yield _Difference(row, job.masks[i], stored, shard["worth"][i], int(shard["predicted"][i]))


def _problems(
    archive: Archive, found: list[_Difference], absolute: float, relative: float
) -> list[str]:
    problems = []
    wrong = [~(d.size <= absolute + relative * np.abs(d.stored)) for d in found]
    if any(w.any() for w in wrong):
        first, where = next(
            (d, int(w.argmax())) for d, w in zip(found, wrong, strict=True) if w.any()
        )
        problems.append(
            f"{sum(int(w.sum()) for w in wrong)} of {sum(w.size for w in wrong)} worths are not "
            f"what they were, the first of image {archive['image_id'][first.row]} and "
            f"coalition {int(first.masks[where])}: {first.stored[where]:.6f} is stored, "
            f"{first.found[where]:.6f} was found"
        )
    for d in found:
        # Where the best two classes differ by no more than rounding, either may be the answer.
        stored = archive["predicted"][d.row]
        if d.predicted != stored and absolute < _EXACT_ENOUGH:
            problems.append(
                f"image {archive['image_id'][d.row]} is class {d.predicted} to the model, not "
                f"{stored}"
            )
            break
    return problems

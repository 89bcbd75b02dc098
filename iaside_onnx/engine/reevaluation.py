"""Some worths of an archive, evaluated again: does this model still say so of these images?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Archive
from iaside_onnx.engine.archived import archived_input, archived_options
from iaside_onnx.engine.evaluation import Task, Worker
from iaside_onnx.engine.plan import Plan, make_plan
from iaside_onnx.engine.progress import Progress

__all__ = ["evaluate_again"]

_EACH = 8
"""Coalitions of an image that are evaluated together."""

# What rounding may come to in nats, and as a share of the worth, by the precision of the model.
_TOLERANCES = {
    "float64": (1e-5, 1e-6),
    "float32": (1e-3, 1e-4),
    "float16": (5e-2, 1e-2),
    "bfloat16": (3e-1, 5e-2),
    "int8": (3e-1, 5e-2),
}
_PLACES = ("runtime", "runtime_version", "provider", "device")


def evaluate_again(
    archive: Archive, model: Any, images: Any, cells: int, progress: Progress
) -> tuple[list[str], list[str]]:
    """Compare hashes of model and images, and some worths, with the archive.

    Args:
        archive: whole, as `check` finds it.
        model: the ONNX file; None for where it was.
        images: as `iaside_onnx.decompose` takes them; None for where they were.
        cells: worths to evaluate, chosen by chance.
        progress: listens to the run.

    Returns:
        What is wrong, one sentence each, and what was looked at.

    Raises:
        IasideError: if the model or the images cannot be had or evaluated.
    """
    changes = {"overwrite": False, "profile": None, "method": "auto", "device": "auto",
               "provider": None, "provider_options": None}  # fmt: skip
    if archive.sampled:
        changes["method"] = "sampled"
    options = archived_options(archive, changes)
    source = archived_input(archive, "images", images)
    earlier = [archive.metadata.options["resolved"]]
    plan = make_plan(archived_input(archive, "model", model), source, options, progress, earlier)
    problems = list(_identity(archive, plan))
    here = ", ".join(str(plan.identity[name]) for name in _PLACES)
    there = ", ".join(str(getattr(archive.metadata, name)) for name in _PLACES)
    where = f"on {here}" + ("" if here == there else f" (the archive: {there})")
    if problems:
        return problems, [f"model and images {where}"]
    found, count, largest = _compare(archive, plan, cells, progress)
    checked = f"{count} worths evaluated again {where}, largest difference {largest:.1e} nats"
    return found, [checked]


def _identity(archive: Archive, plan: Plan) -> Iterator[str]:
    facts, meta = plan.classifier.facts, archive.metadata
    if facts.sha256 != meta.model_sha256 or dict(facts.external) != dict(meta.model_external):
        yield (
            f"{facts.path} is another model: its SHA-256 is {facts.sha256[:16]}..., not "
            f"{meta.model_sha256[:16]}..."
        )
    positions = archive["image"]
    if (
        positions.max() >= len(plan.selection.source)
        or not np.isin(positions, plan.selection.positions).all()
    ):
        yield f"{plan.selection.source.describe()} holds other images than the archive"
        return
    changed = plan.selection.first_changed(positions.tolist(), archive["image_sha256"])
    if changed is not None:
        yield f"the image {changed} has changed since: its SHA-256 is another"
    if plan.spec.to_dict() != {**plan.spec.to_dict(), **dict(meta.preprocess)}:
        yield "images are prepared otherwise than they were: give the model with its preprocessing"


def _compare(
    archive: Archive, plan: Plan, cells: int, progress: Progress
) -> tuple[list[str], int, float]:
    rng = np.random.default_rng([archive.metadata.seed, cells])
    columns = _columns(archive, rng, min(cells, _EACH))
    images = archive["image"].size
    rows = np.sort(rng.permutation(images)[: max(-(-cells // columns.size), 1)])
    masks = np.stack([archive.coalitions(row, row + 1)[0, columns] for row in rows.tolist()])
    stored = np.stack([archive.worth(row, row + 1)[0, columns] for row in rows.tolist()])
    places = np.searchsorted(plan.selection.positions, archive["image"][rows])
    tasks = [
        Task(int(place), mask, int(label))
        for place, mask, label in zip(places, masks, archive["label"][rows], strict=True)
    ]
    worker = Worker(plan, tasks, masks[0], progress)
    progress.begin(len(tasks), 0, worker.evaluations)
    results, failures = worker.evaluate(len(tasks))
    progress.end()
    problems = [f"image {f.image_id} fails now: {f.reason}" for f in failures]
    if failures:
        return problems, 0, float("nan")
    found = np.stack([result.worth for result in results])
    difference = np.abs(found.astype(np.float64) - stored)
    absolute, relative = _TOLERANCES.get(archive.metadata.precision, _TOLERANCES["float32"])
    wrong = ~(difference <= absolute + relative * np.abs(stored))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        problems.append(
            f"{int(wrong.sum())} of {wrong.size} worths are not what they were, the first of image "
            f"{archive['image_id'][rows[row]]} and coalition {int(masks[row, column])}: "
            f"{stored[row, column]:.6f} is stored, {found[row, column]:.6f} was found"
        )
    return problems, wrong.size, float(difference.max())


def _columns(archive: Archive, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Coalitions, or slots that every image has: those of its first pair."""
    have = 2 * archive.bands if archive.sampled else archive.worth(0, 1).shape[1]
    return np.sort(rng.permutation(have)[:count])

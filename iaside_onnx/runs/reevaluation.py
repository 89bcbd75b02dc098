"""Some worths of an archive, evaluated again: does this model still say so of these images?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Archive
from iaside_onnx.engine.archived import archived_input, archived_options
from iaside_onnx.engine.evaluation import Result, Task, Worker
from iaside_onnx.engine.plan import Plan, make_plan
from iaside_onnx.engine.progress import Progress
from iaside_onnx.game import PairedDesign

__all__ = ["evaluate_again"]

_EACH = 8
"""Coalitions of an image that are evaluated together, at least."""

# What rounding may come to in nats, and as a share of the worth, by the precision of the model.
_TOLERANCES = {
    "float64": (1e-5, 1e-6),
    "float32": (1e-3, 1e-4),
    "float16": (5e-2, 1e-2),
    "bfloat16": (3e-1, 5e-2),
    "int8": (3e-1, 5e-2),
}
_EXACT_ENOUGH = 1e-2
_IMAGES = ("images_count", "images_digest", "labels")
_GAME = ("output", "output_kind", "bands", "partition", "spacing", "baseline", "mean_color",
         "pixel_range", "seed")  # fmt: skip
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
    problems, count, largest = _compare(archive, plan, cells, progress)
    asked = "" if count >= cells else f" (all that there are, of {cells} asked for)"
    how = f"largest difference {largest:.1e} nats"
    return problems, [f"{count} worths evaluated again{asked} {where}, {how}"]


def _identity(archive: Archive, plan: Plan) -> Iterator[str]:
    facts, meta = plan.classifier.facts, archive.metadata
    if facts.sha256 != meta.model_sha256 or dict(facts.external) != dict(meta.model_external):
        yield (
            f"{facts.path} is another model: its SHA-256 is {facts.sha256[:16]}..., not "
            f"{meta.model_sha256[:16]}..."
        )
    resolved = archive.metadata.options["resolved"]
    differ = {name for name in _IMAGES if plan.identity[name] != resolved.get(name)}
    if differ:
        yield (
            f"{plan.selection.source.describe()} holds other images than the archive, or other "
            f"names or labels: {', '.join(sorted(differ))} differ(s)"
        )
        return
    differ = {name for name in _GAME if plan.identity[name] != resolved.get(name)}
    if differ:
        yield f"the options do not say what was done: {', '.join(sorted(differ))} differ(s)"
    positions = archive["image"]
    if not np.isin(positions, plan.selection.positions).all():
        yield f"{plan.selection.source.describe()} does not hold the images of the archive"
        return
    rows = np.searchsorted(plan.selection.positions, positions)
    labels = plan.selection.labels
    if labels is not None and (archive["label"] != labels[rows]).any():
        yield "the labels of the archive are not those of the images"
    names = [plan.selection.source.ids[position] for position in positions.tolist()]
    if archive["image_id"].tolist() != names:
        yield "the names of the archive's images are not those of the images at their positions"
    changed = plan.selection.first_changed(positions.tolist(), archive["image_sha256"])
    if changed is not None:
        yield f"the image {changed} has changed since: its SHA-256 is another"
    if facts.precision != meta.precision:
        yield f"the model's precision is {facts.precision}, not {meta.precision}"
    if plan.spec.to_dict() != {**plan.spec.to_dict(), **dict(meta.preprocess)}:
        yield "images are prepared otherwise than they were: give the model with its preprocessing"


def _compare(
    archive: Archive, plan: Plan, cells: int, progress: Progress
) -> tuple[list[str], int, float]:
    """What is not what it was, how many worths were compared, and the largest difference.

    Nobody can know beforehand which: they are drawn anew each time.
    """
    rng = np.random.default_rng()
    images = archive["image"].size
    rows = np.sort(rng.permutation(images)[: max(-(-cells // _EACH), 1)])
    each = max(-(-cells // rows.size), min(cells, _EACH))
    filled = _filled(archive)[rows]
    progress.begin(rows.size, 0, each)
    found: list[_Difference] = []
    problems: list[str] = []
    for count in np.unique(filled):
        own = rows[filled == count]
        chosen = [_Chosen(archive, row, int(count), each, rng) for row in own.tolist()]
        places = np.searchsorted(plan.selection.positions, archive["image"][own])
        tasks = [
            Task(int(place), one.masks, int(archive["label"][one.row]))
            for place, one in zip(places, chosen, strict=True)
        ]
        results, failures = Worker(plan, tasks, chosen[0].masks, progress).evaluate(len(tasks))
        problems += [
            f"image {failure.image_id} fails now: {failure.reason}" for failure in failures
        ]
        if not failures:
            found += [_Difference(archive, *pair) for pair in zip(chosen, results, strict=True)]
    progress.end()
    if problems:
        return problems, 0, float("nan")
    return (
        _problems(archive, plan, found),
        sum(d.found.size for d in found),
        max(float(d.size.max()) for d in found),
    )


def _filled(archive: Archive) -> NDArray[np.int64]:
    """How many worths each image has."""
    if not archive.sampled:
        return np.full(archive["image"].size, 1 << archive.bands)
    ends = PairedDesign(archive.bands, archive.metadata.seed).layout.ends
    return np.asarray(ends[archive["pairs"]])


class _Chosen:
    """Some coalitions of an image, the empty and the full one first: both are always asked for."""

    def __init__(
        self, archive: Archive, row: int, filled: int, each: int, rng: np.random.Generator
    ) -> None:
        full = 1 if archive.sampled else filled - 1
        others = np.setdiff1d(np.arange(filled), [0, full])
        others = rng.permutation(others)[: max(each - 2, 0)]
        self.row = row
        self.columns = np.array([0, full, *np.sort(others)])
        self.masks = archive.coalitions(row, row + 1)[0, self.columns]


class _Difference:
    """What an image's worths were and are."""

    def __init__(self, archive: Archive, chosen: _Chosen, result: Result) -> None:
        self.chosen, self.result = chosen, result
        self.stored = archive.worth(chosen.row, chosen.row + 1)[0, chosen.columns]
        self.found = result.worth
        self.size = np.abs(self.found.astype(np.float64) - self.stored)


def _problems(archive: Archive, plan: Plan, found: list[_Difference]) -> list[str]:
    absolute, relative = _TOLERANCES.get(plan.classifier.facts.precision, _TOLERANCES["float32"])
    problems = []
    wrong = [~(d.size <= absolute + relative * np.abs(d.stored)) for d in found]
    if any(w.any() for w in wrong):
        first, where = next(
            (d, int(w.argmax())) for d, w in zip(found, wrong, strict=True) if w.any()
        )
        problems.append(
            f"{sum(int(w.sum()) for w in wrong)} of {sum(w.size for w in wrong)} worths are not "
            f"what they were, the first of image {archive['image_id'][first.chosen.row]} and "
            f"coalition {int(first.chosen.masks[where])}: {first.stored[where]:.6f} is stored, "
            f"{first.found[where]:.6f} was found"
        )
    for d in found:
        # Where the best two classes are as likely as can be told, either may be the answer.
        told = archive["predicted"][d.chosen.row]
        if d.result.predicted != told and absolute < _EXACT_ENOUGH:
            problems.append(
                f"image {archive['image_id'][d.chosen.row]} is class {d.result.predicted} to the "
                f"model, not {told}"
            )
            break
    return problems

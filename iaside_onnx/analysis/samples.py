"""Whether what a sampled archive says of how far its run went follows from its images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import numpy as np

from iaside_onnx.analysis.estimates import design_of
from iaside_onnx.archive import Archive, end_evaluations
from iaside_onnx.game import Design

__all__ = ["sample_contradictions"]

_UNKNOWN = "does not say how far the run went"


def sample_contradictions(archive: Archive) -> Iterator[str]:
    """Find what contradicts the attribute ``sample``, one sentence each."""
    design, sample = design_of(archive), archive.metadata.sample
    if not design.sequential:
        if sample is not None:
            yield f"the attribute 'sample' is there, but the method {design.name} takes none"
        return
    if sample is None:
        yield f"the attribute 'sample' {_UNKNOWN}: it is missing"
        return
    counts = [sample.get(name) for name in ("evaluations", "images")]
    if not all(type(count) is int and count > 0 for count in counts):
        yield f"the attribute 'sample' {_UNKNOWN}: it lacks numbers of evaluations and images"
    elif archive.recipe.merged is not None:
        yield from _merged(archive, design, sample)
    else:
        yield from _run(archive, design, sample)


def _run(archive: Archive, design: Design, sample: Mapping[str, Any]) -> Iterator[str]:
    images, rounds = sample["images"], _rounds(sample.get("rounds"), sample["images"], design)
    if images != archive.recipe.images_count:
        yield (
            f"the attribute 'sample' says {images} images, and the options "
            f"{archive.recipe.images_count}"
        )
        return
    if rounds is None:
        yield f"the attribute 'sample' {_UNKNOWN}: its 'rounds' are not those of a run"
        return
    steps = rounds[-1]
    full, rest = divmod(steps, images)
    failed = archive["failed"].size if "failed" in archive.names else 0
    asked, draws = archive["image"].size + failed, archive.draws
    if asked != min(steps, images):
        yield f"the 'rounds' of the attribute 'sample' end at {steps} steps, not at {asked} images"
    if draws.min() < 0 or draws.max() >= min(steps, images) or np.unique(draws).size < draws.size:
        yield "'draw' holds a place in the order twice, or one that was not drawn"
        return
    # How many replicates each image has if it never failed.
    lasts = np.array([0, *(one.last for one in design.passes)])
    most = lasts[full + (draws < rest)]
    found = archive.replicates
    fewer = archive.metadata.options["given"].get("on_bad_image") == "skip"
    if (found > most).any() or (not fewer and (found < most).any()):
        yield "the numbers of pairs are not those that follow from the 'rounds' of 'sample'"
    costs = _costs(archive, design)
    cost = images * costs[full] + (rest * (costs[full + 1] - costs[full]) if rest else 0)
    if sample["evaluations"] != cost:
        yield (
            f"the attribute 'sample' says {sample['evaluations']} evaluations, where its rounds "
            f"take {cost}"
        )
    if any(sample.get(name) != value for name, value in design.describe().items()):
        yield f"the attribute 'sample' does not describe the method {design.name}"


def _rounds(rounds: Any, images: int, design: Design) -> list[int] | None:
    """Steps in ascending order, each at the end of a block or of a pass; None for all else."""
    right = (
        isinstance(rounds, list)
        and bool(rounds)
        and all(type(steps) is int for steps in rounds)
        and all(before < after for before, after in zip([0, *rounds], rounds, strict=False))
        and rounds[-1] <= images * len(design.passes)
        and all(steps % images % design.block == 0 for steps in rounds)
    )
    return rounds if right else None


def _merged(archive: Archive, design: Design, sample: Mapping[str, Any]) -> Iterator[str]:
    """A merged archive holds sums alone, and images that failed have none of their evaluations."""
    meta, found = archive.metadata, archive.replicates
    if sample["images"] < meta.images_asked:
        yield f"the attribute 'sample' says {sample['images']} images, fewer than there are"
    cost = dict(
        zip([0, *(one.last for one in design.passes)], _costs(archive, design), strict=True)
    )
    if not set(found.tolist()) <= cost.keys():
        yield "an image has a number of pairs that no run gives it"
        return
    least = sum(cost[count] for count in found.tolist())
    failed = meta.images_failed or meta.options["given"].get("on_bad_image") != "error"
    if sample["evaluations"] < least or (not failed and sample["evaluations"] != least):
        yield (
            f"the attribute 'sample' says {sample['evaluations']} evaluations, where the pairs of "
            f"the images take {least}"
        )


def _costs(archive: Archive, design: Design) -> list[int]:
    """Evaluations of an image in the first k passes, at index k."""
    ends = end_evaluations(archive.recipe.pixel_range, archive.recipe.baseline)
    each = (design.evaluations(number, ends) for number in range(len(design.passes)))
    return [0, *accumulate(each)]

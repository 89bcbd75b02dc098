"""From the results of a run to its archive."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from iaside_onnx.analysis import accuracy, chance_warning, estimate_variables
from iaside_onnx.archive import (
    DECOMPOSITION,
    SCHEMA_VERSION,
    DecompositionMetadata,
    Workspace,
    failed_variables,
    write_archive,
)
from iaside_onnx.errors import ImageError
from iaside_onnx.game import Estimate
from iaside_onnx.progress import Progress
from iaside_onnx.runs.driver import missing
from iaside_onnx.runs.planning import Plan
from iaside_onnx.runs.results import Results
from iaside_onnx.spectrum import band_edges
from iaside_onnx.version import __version__

__all__ = ["assemble", "now"]


def now() -> str:
    """The time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def assemble(
    plan: Plan,
    workspace: Workspace,
    started: str,
    progress: Progress,
    results: Results,
    profile: dict[str, Any] | None,
) -> None:
    """Write the archive of a run.

    Args:
        plan: the run.
        workspace: its folder, locked and claimed, with all shards.
        started: when it was first started.
        progress: is told what makes the result doubtful.
        results: what was evaluated.
        profile: where the time went, if the archive is to say so.

    Raises:
        ImageError: if images failed, and that is an error, or none is left.
        ArchiveError: if the archive cannot be written; the shards are kept.
    """
    failures = list(results.failures)
    if plan.options.on_bad_image == "error":
        failures += results.later
    found = results.estimate()
    if found is None or (failures and plan.options.on_bad_image == "error"):
        raise ImageError(_failed(results, failures, workspace))
    small = results.small()
    doubts = [*_limit_notes(plan, results, found), *_doubts(plan, small, results)]
    for doubt in doubts:
        progress.warn(doubt)
    notes = [*plan.notes, *doubts, *_batch_notes(plan, results)]
    metadata = _metadata(plan, results, found, small, len(failures))
    metadata = replace(metadata, started=started, notes=notes, profile=profile)
    values = {
        **small,
        **_design_variables(plan, results),
        **estimate_variables(found),
        **_constants(plan),
        **failed_variables(failures),
        "phi_image": results.contributions,
    }
    if not plan.schedule.design.shared:
        values["phi_se"] = found.standard_error
    write_archive(workspace, DECOMPOSITION, values, metadata, results.streamed())


def _metadata(
    plan: Plan, results: Results, found: Estimate, small: dict[str, Any], failed: int
) -> DecompositionMetadata:
    """The root attributes, but for what the run has to say of itself."""
    facts, execution, recipe = plan.classifier.facts, plan.classifier.execution, plan.recipe
    done = int(results.done.size)
    right = math.nan
    if plan.selection.labels is not None:
        right = accuracy(small["predicted"], small["label"])
    given = {**plan.options.as_given(), **plan.inputs.names}
    return DecompositionMetadata(
        schema_version=SCHEMA_VERSION,
        tool_version=__version__,
        model_name=facts.path.name,
        model_sha256=facts.sha256,
        model_external=dict(facts.external),
        model_size=facts.size,
        model_opset=facts.opset,
        model_producer=facts.producer,
        runtime=execution.runtime,
        runtime_version=execution.runtime_version,
        provider=execution.provider,
        device=execution.device,
        precision=facts.precision,
        seed=recipe.seed,
        options={"given": given, "resolved": recipe.to_json()},
        preprocess=recipe.preprocess,
        started="",
        finished=now(),
        images_asked=done + failed,
        images_done=done,
        images_failed=failed,
        notes=[],
        accuracy=right,
        uniform=int(found.uniform),
        smallest_bands=list(found.smallest),
        sample=_progress(plan, results) if plan.schedule.design.sequential else None,
    )


def _design_variables(plan: Plan, results: Results) -> dict[str, Any]:
    """Which coalitions each image has."""
    design, done = plan.schedule.design, results.done
    if design.shared:
        return {"coalition": design.coalitions(0, 0, results.slots)}
    found: dict[str, Any] = {
        "slot": np.arange(results.slots),
        "draw": done,
        "block": done // design.block,
        "pairs": results.replicates[done],
    }
    return found if results.strata is None else {**found, "stratum": results.strata}


def _constants(plan: Plan) -> dict[str, Any]:
    """What does not depend on the evaluation."""
    edges = band_edges(plan.recipe.bands, plan.recipe.spacing)
    found: dict[str, Any] = {
        "band": np.arange(plan.recipe.bands),
        "band_low": edges[:-1],
        "band_high": edges[1:],
    }
    classes = plan.selection.source.classes
    if classes:
        found["class_folder"] = list(classes)
        found["class_folder_index"] = np.array(list(classes.values()))
    return found


def _progress(plan: Plan, results: Results) -> dict[str, Any]:
    """How far a sequential run went."""
    return {
        "evaluations": plan.schedule.cost(results.rounds[-1]),
        "images": plan.schedule.images,
        "rounds": results.rounds,
        **plan.schedule.design.describe(),
    }


def _limit_notes(plan: Plan, results: Results, found: Estimate) -> list[str]:
    """What a sequential run did not reach."""
    schedule = plan.schedule
    if not schedule.design.sequential:
        return []
    notes = []
    steps, short = results.rounds[-1], missing(plan, found)
    if plan.has_target and not short <= 1:
        why = (
            "the budget is spent: raise it"
            if steps < schedule.steps
            else "every image has all of its pairs: only more images, or `method='exact'` where "
            "these images alone are asked about, can help"
        )
        how = "unknown" if np.isnan(short) else f"{short:.2f} times as wide"
        notes.append(f"the precision asked for was not reached ({how}); {why}")
    asked = plan.options.budget
    if asked is not None and steps == schedule.steps and not plan.has_target:
        notes.append(
            f"every image has all of its pairs: {schedule.cost(schedule.steps):,} of the "
            f"{asked:,} evaluations of the budget were enough; only `method='exact'` does more"
        )
    if np.isnan(found.standard_error).any():
        notes.append("a single image was evaluated: there are no intervals; take more images")
    if results.later:
        first = results.later[0]
        notes.append(
            f"{len(results.later)} images failed after their first pair, which is kept; the first "
            f"is {first.image_id} ({first.reason.rstrip('.')})"
        )
    return notes


def _doubts(plan: Plan, small: dict[str, Any], results: Results) -> list[str]:
    """What makes the worths doubtful."""
    doubts = []
    if plan.selection.labels is not None:
        warning = chance_warning(small["predicted"], small["label"], plan.classes)
        doubts += [warning] if warning else []
    if results.floored.any():
        doubts.append(
            f"{int(results.floored.sum())} probabilities were below what the output's type can "
            "hold, and were raised to its smallest normal number"
        )
    return doubts


def _batch_notes(plan: Plan, results: Results) -> list[str]:
    asked = plan.recipe.batch_size
    if 0 < results.batch_size < min(asked, plan.schedule.largest_batch):
        return [
            f"memory ran out: batches were halved, from {asked} images down to {results.batch_size}"
        ]
    return []


def _failed(results: Results, failures: list[Any], workspace: Workspace) -> str:
    done = results.done.size
    # An image may fail after its first pair.
    positions = {f.position for f in failures} | set(
        results.small()["image"].tolist() if done else ()
    )
    first = failures[0]
    what = (
        f"{len(failures)} of {len(positions)} images failed, the first is image {first.image_id} "
        f"({first.reason.rstrip('.')})"
    )
    if not done:
        return f"{what}; none is left to decompose"
    return (
        f"{what}; the others are kept in {workspace.folder}: mend the images and run the same "
        "command again, or add `on_bad_image='skip'`"
    )

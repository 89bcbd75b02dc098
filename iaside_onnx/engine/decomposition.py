"""The main job: from a model and images to an archive."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import (
    SCHEMA_VERSION,
    Archive,
    Shard,
    Workspace,
    collect,
    describe_differences,
    encode,
    finished_file,
    open_archive,
    shard_tables,
    write_archive,
)
from iaside_onnx.engine.accuracy import accuracy, chance_warning
from iaside_onnx.engine.findings import Findings
from iaside_onnx.engine.local import run_shards
from iaside_onnx.engine.options import Options, OptionWords, new_words
from iaside_onnx.engine.plan import LIMITS, Plan, make_plan
from iaside_onnx.engine.progress import LogProgress, Progress
from iaside_onnx.engine.sampled import run_rounds
from iaside_onnx.errors import ArchiveError, ImageError, OptionError, RunConflictError
from iaside_onnx.game import Estimate, estimate
from iaside_onnx.spectrum import band_edges
from iaside_onnx.version import __version__

__all__ = ["check_output", "decompose", "run_and_assemble"]

# Options that may name a file to read.
_INPUTS = ("labels", "classes", "preprocess")


def decompose(
    model: str | Path,
    images: str | Path | NDArray[Any],
    output: str | Path,
    *,
    progress: Progress | None = None,
    **options: Unpack[OptionWords],
) -> Archive:
    """Decompose a classifier's predictive power over frequency bands, and archive it.

    The same call again resumes a run that was interrupted, or returns the finished archive.

    Args:
        model: an ONNX file.
        images: a folder of class folders, a flat folder, an ``.npz``, ``.npy``, ``.h5``,
            ``.parquet`` or ``.tar`` file, a folder of Parquet or tar shards, or an array,
            ``(n, height, width[, channels])``, uint8 or float in [0, 1].
        output: the archive to write; work in progress is in a folder beside it.
        progress: listens to the run; by default the logger ``iaside_onnx``.
        **options: see `iaside_onnx.Options`.

    Returns:
        The finished archive.

    Raises:
        IasideError: with one sentence that says what is wrong and what to do. What was evaluated
            before is kept.
    """
    progress = progress or LogProgress()
    if "about" in options:
        warnings.warn(
            "about='images' is now inference='sample'; the old word still works",
            DeprecationWarning,
            stacklevel=2,
        )
    chosen = Options(**new_words(options))
    workspace = Workspace(Path(output), progress.warn)
    inputs = [model, images, *(getattr(chosen, name) for name in _INPUTS)]
    check_output(workspace, inputs)
    _check_profile(chosen, workspace, inputs)
    earlier = _earlier(workspace) if chosen.batch_size == "auto" else []
    plan = make_plan(model, images, chosen, progress, earlier)
    if chosen.profile is not None:
        plan.evaluator.profile.synchronize = plan.classifier.memory.synchronize
    if _is_finished(plan, workspace):
        progress.say(f"{output} is already finished")
        workspace.clear_leftovers(plan.identity)
        archive = open_archive(output)
        if chosen.profile is not None and archive.metadata.profile is None:
            progress.warn("it was made without --profile, so no profile is written")
        elif chosen.profile is not None:
            _write_profile(chosen.profile, archive.metadata.profile)
        return archive
    with workspace.lock():
        # Asked again, as another process may have finished it since.
        if not _is_finished(plan, workspace):
            started = workspace.claim(plan.identity, _now(), overwrite=chosen.overwrite)
            run_and_assemble(plan, workspace, started, progress)
        workspace.clear()
    return open_archive(output)


def run_and_assemble(plan: Plan, workspace: Workspace, started: str, progress: Progress) -> None:
    """Evaluate what is not there yet, and write the archive; the workspace must be claimed.

    Raises:
        IasideError: as `decompose` does.
    """
    profile = plan.options.profile
    sample = None
    try:
        if plan.sample is None:
            run_shards(plan, workspace, progress)
        else:
            sample = run_rounds(plan, workspace, progress)
    finally:
        if profile is not None:
            _write_profile(profile, plan.evaluator.profile.as_dict())
    found = _all_coalitions(plan, workspace) if sample is None else sample.findings()
    _assemble(plan, workspace, started, progress, found)


def _all_coalitions(plan: Plan, workspace: Workspace) -> Findings:
    parts = [plan.selection.positions[rows] for rows in plan.shards]
    summary = collect(workspace, parts)
    result = estimate(summary.phi_image, plan.population) if summary.image.size else None
    values = {"coalition": plan.coalitions}
    return Findings(summary, result, shard_tables(workspace, parts), values)


def _earlier(workspace: Workspace) -> list[Mapping[str, object] | None]:
    """What an unfinished run and a finished archive at this output depended on."""
    try:
        finished = open_archive(workspace.output).metadata.options["resolved"]
    except ArchiveError:
        finished = None
    return [workspace.identity(), finished]


def _check_profile(options: Options, workspace: Workspace, inputs: Iterable[object]) -> None:
    if options.profile is None:
        return
    path = Path(options.profile)
    taken = [workspace.output, *(Path(i) for i in inputs if isinstance(i, str | Path))]
    if any(path.resolve() == other.resolve() for other in taken):
        raise OptionError(f"{path}: is an input or the output; write the profile elsewhere")
    if path.is_dir() or not path.parent.is_dir():
        raise OptionError(f"{path}: is a folder, or its folder does not exist; name a file")
    if path.exists() and not _is_profile(path):
        raise OptionError(f"{path}: is there and is no profile; write the profile elsewhere")


def _is_profile(path: Path) -> bool:
    """Whether a file is one that may be replaced: an earlier run's profile, or empty."""
    try:
        text = path.read_text(encoding="utf-8")
        return not text or "evaluations_per_second" in json.loads(text)
    except (OSError, ValueError, TypeError):
        return False


def _write_profile(path: str | Path, profile: Mapping[str, Any] | None) -> None:
    """Write down where the time went, also of a run that is cut short.

    Raises:
        ArchiveError: if the file system refuses.
    """
    with finished_file(Path(path)) as temporary:
        temporary.write_text(json.dumps(profile, indent=1) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_output(workspace: Workspace, inputs: Iterable[object]) -> None:
    """Find out early what would otherwise come to light when the work is done."""
    output = workspace.output
    paths = [Path(path) for path in inputs if isinstance(path, str | Path)]
    if output.exists() and any(path.exists() and output.samefile(path) for path in paths):
        raise OptionError(f"{output}: is one of the inputs; write the archive elsewhere")
    if output.is_dir():
        raise ArchiveError(f"{output}: is a folder; give the name of a file to write")
    if not output.parent.is_dir():
        raise ArchiveError(f"{output}: its folder does not exist; make it, or write elsewhere")


def _is_finished(plan: Plan, workspace: Workspace) -> bool:
    """Whether the output is there and is this run's.

    Raises:
        RunConflictError: if it is another run's, or something else, and must not be overwritten.
    """
    output = workspace.output
    if plan.options.overwrite or not output.exists():
        return False
    try:
        archive = open_archive(output)
    except ArchiveError as error:
        raise RunConflictError(
            f"{output}: is there already and is no archive that can be read; give another output, "
            "or --overwrite to replace it"
        ) from error
    identity = archive.metadata.options["resolved"]
    if identity != plan.identity:
        same = {**identity, **{name: plan.identity[name] for name in LIMITS if plan.sample}}
        way = "iaside extend goes on with it, or " if same == plan.identity else ""
        raise RunConflictError(
            f"{output}: is the archive of another run, which differs in: "
            f"{describe_differences(plan.identity, identity)}; {way}give another output, or "
            "--overwrite to replace it"
        )
    changed = plan.selection.first_changed(archive["image"].tolist(), archive["image_sha256"])
    if changed is not None:
        raise RunConflictError(
            f"{output}: is the archive of other images: image {changed} has changed since; give "
            "another output, or --overwrite to replace it"
        )
    return True


def _assemble(
    plan: Plan,
    workspace: Workspace,
    started: str,
    progress: Progress,
    found: Findings,
) -> None:
    summary, result = found.summary, found.estimate
    if result is None or (summary.failures and plan.options.on_bad_image == "error"):
        raise ImageError(_failed(summary, workspace))
    notes = list(plan.notes)
    extra: dict[str, object] = {} if found.sample is None else {"sample": found.sample}
    notes += found.notes
    for note in found.notes:
        progress.warn(note)
    right = math.nan
    if plan.selection.labels is not None:
        right = accuracy(summary.predicted, summary.label)
        warning = chance_warning(summary.predicted, summary.label, plan.classes)
        if warning:
            notes.append(warning)
            progress.warn(warning)
    if summary.floored.any():
        notes.append(
            f"{int(summary.floored.sum())} probabilities were below what the output's type can "
            "hold, and were raised to its smallest normal number"
        )
        progress.warn(notes[-1])
    asked = plan.identity["batch_size"]
    if isinstance(asked, int) and 0 < summary.batch_size < min(asked, plan.largest_batch):
        notes.append(
            f"memory ran out: batches were halved, from {asked} images down to {summary.batch_size}"
        )
    if plan.options.profile is not None:
        extra["profile"] = plan.evaluator.profile.as_dict()
    attributes = {
        **_provenance(plan),
        **extra,
        "started": started,
        "finished": _now(),
        "images_asked": int(summary.image.size) + len(summary.failures),
        "images_done": int(summary.image.size),
        "images_failed": len(summary.failures),
        "accuracy": right,
        "uniform": int(result.uniform),
        "smallest_bands": list(result.smallest),
        "notes": notes,
    }
    values = {**_values(plan, result), **found.values}
    write_archive(workspace, summary, values, attributes, found.tables)


def _failed(summary: Shard, workspace: Workspace) -> str:
    failed, done = len(summary.failures), summary.image.size
    # An image of a sample may fail after its first pair.
    positions = {*summary.image.tolist(), *(failure.position for failure in summary.failures)}
    first = summary.failures[0]
    what = (
        f"{failed} of {len(positions)} images failed, the first is image {first.image_id} "
        f"({first.reason.rstrip('.')})"
    )
    if not done:
        return f"{what}; none is left to decompose"
    return (
        f"{what}; the others are kept in {workspace.folder}: mend the images and run the same "
        "command again, or add --on-bad-image skip"
    )


def _provenance(plan: Plan) -> dict[str, object]:
    facts, execution = plan.classifier.facts, plan.classifier.execution
    return {
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "model_name": facts.path.name,
        "model_sha256": facts.sha256,
        "model_external": dict(facts.external),
        "model_size": facts.size,
        "model_opset": facts.opset,
        "model_producer": facts.producer,
        "runtime": execution.runtime,
        "runtime_version": execution.runtime_version,
        "provider": execution.provider,
        "device": execution.device,
        "precision": facts.precision,
        "seed": plan.options.seed,
        "options": {
            "given": {**plan.options.as_given(), **plan.inputs},
            "resolved": dict(plan.identity),
        },
        "preprocess": plan.spec.to_dict(),
    }


def _values(plan: Plan, result: Estimate) -> dict[str, NDArray[Any]]:
    edges = band_edges(plan.options.bands, plan.options.spacing)
    values: dict[str, Any] = {
        "band_low": edges[:-1],
        "band_high": edges[1:],
        "phi": result.phi,
        "phi_low": result.phi_low,
        "phi_high": result.phi_high,
        "psi": result.psi,
        "psi_low": result.psi_low,
        "psi_high": result.psi_high,
        "sis": result.sis,
        "sis_low": result.sis_low,
        "sis_high": result.sis_high,
    }
    classes = plan.selection.source.classes
    if classes:
        values["class_folder"] = encode(list(classes))
        values["class_folder_index"] = np.array(list(classes.values()))
    return {name: np.asarray(value) for name, value in values.items()}

"""The main job: from a model and images to an archive."""

from __future__ import annotations

from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Unpack

from numpy.typing import NDArray

from iaside_onnx.archive import (
    Archive,
    Recipe,
    Workspace,
    check_output,
    open_archive,
    refuse_changed,
)
from iaside_onnx.errors import ArchiveError, RunConflictError
from iaside_onnx.outputs import check_recorded
from iaside_onnx.progress import Progress, listener
from iaside_onnx.runs.assembly import assemble, now
from iaside_onnx.runs.driver import run_plan
from iaside_onnx.runs.executors import Executor, LocalExecutor, ProcessExecutor
from iaside_onnx.runs.keywords import named_options
from iaside_onnx.runs.options import LIMITS, OLD_WORDS, Options, OptionWords, parse_options
from iaside_onnx.runs.planning import Inputs, Plan, find_inputs, make_plan
from iaside_onnx.runs.profiles import check_profile, write_profile
from iaside_onnx.version import __version__

__all__ = ["decompose", "execute"]

# Options that may name a file to read.
_INPUTS = ("labels", "classes", "preprocess")
# Options that say nothing of the result.
_ASIDE = ("overwrite", "profile", "workers", "on_bad_image")


@named_options(Options, old=OLD_WORDS)
def decompose(
    model: str | Path,
    images: str | Path | NDArray[Any],
    output: str | Path,
    *,
    progress: Progress | bool | None = True,
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
        **options: see `iaside_onnx.Options`.
        progress: True for a bar in a notebook or on a terminal, and the logger ``iaside_onnx`` for
            words; False or None for the logger alone; or what listens to the run.

    Returns:
        The finished archive.

    Raises:
        IasideError: with one sentence that says what is wrong and what to do. What was evaluated
            before is kept.
    """
    progress = listener(progress)
    chosen = parse_options(options)
    workspace = Workspace(Path(output), progress.warn)
    files = [model, images, *(getattr(chosen, name) for name in _INPUTS)]
    check_output(workspace.output, files)
    for file in files:
        if isinstance(file, str | Path):
            check_recorded(file)
    check_profile(chosen.profile, [workspace.output, *files])
    inputs = find_inputs(model, images, chosen)
    if _is_recognised(inputs, chosen, workspace):
        return _finished(workspace, chosen, progress)
    earlier = _earlier(workspace, archived=chosen.batch_size == "auto")
    plan = make_plan(inputs, chosen, progress, earlier)
    if _is_finished(plan, workspace):
        return _finished(workspace, chosen, progress, plan.recipe)
    with workspace.lock():
        # Asked again, as another process may have finished it since.
        if not _is_finished(plan, workspace):
            identity = plan.recipe.to_json()
            started = workspace.claim(identity, now(), overwrite=chosen.overwrite)
            execute(plan, workspace, started, progress)
        workspace.clear()
    return open_archive(output)


def execute(plan: Plan, workspace: Workspace, started: str, progress: Progress) -> None:
    """Evaluate what is not there yet, and write the archive; the workspace must be claimed.

    Raises:
        IasideError: as `decompose` does.
    """
    file = plan.options.profile
    executor = _executor(plan, workspace)
    if file is not None:
        executor.profile.synchronize = plan.classifier.memory.synchronize
    try:
        results = run_plan(plan, workspace, executor, progress)
    finally:
        executor.close()
        if file is not None:
            write_profile(file, executor.profile.as_dict())
    profile = None if file is None else executor.profile.as_dict()
    assemble(plan, workspace, started, progress, results, profile)


def _executor(plan: Plan, workspace: Workspace) -> Executor:
    if plan.options.workers > 1:
        return ProcessExecutor(plan.options.workers, workspace.folder)
    return LocalExecutor(plan.evaluator)


def _earlier(workspace: Workspace, *, archived: bool) -> list[Recipe | None]:
    """The recipes of an unfinished run and, if asked for, of a finished archive at this output."""
    found: list[Recipe | None] = []
    if archived:
        with suppress(ArchiveError):
            found.append(open_archive(workspace.output).recipe)
    identity = workspace.identity()
    if identity is not None:
        with suppress(ValueError):
            found.insert(0, Recipe.from_json(identity))
    return found


def _is_recognised(inputs: Inputs, options: Options, workspace: Workspace) -> bool:
    """Whether the output is the finished archive of this very command.

    Nothing is loaded for it: model and images are compared by their hashes. What is not recognised
    here may still be found to be finished when the model is loaded.
    """
    if options.overwrite or not workspace.output.exists():
        return False
    try:
        archive = open_archive(workspace.output)
    except ArchiveError:
        return False
    recipe, given = archive.recipe, archive.metadata.options["given"]
    asked = {**options.as_given(), **inputs.names}
    facts, selection = inputs.model.facts, inputs.selection
    # Without threads that are given, workers share the cores, and have fewer of them each.
    aside = _ASIDE if options.threads is not None else {*_ASIDE} - {"workers"}
    return (
        {k: v for k, v in given.items() if k not in aside}
        == {k: v for k, v in asked.items() if k not in aside}
        and "array" not in asked.values()
        and recipe.tool_version == __version__
        and _is_installed(recipe.runtime, recipe.runtime_version)
        and recipe.model_sha256 == facts.sha256
        and recipe.model_external == dict(facts.external)
        and recipe.images_digest == selection.digest()
        and _same_preprocess(recipe, inputs)
        and selection.first_changed(archive["image"].tolist(), archive["image_sha256"]) is None
    )


def _is_installed(distribution: str, version: str) -> bool:
    try:
        return metadata.version(distribution) == version
    except metadata.PackageNotFoundError:
        return False


def _same_preprocess(recipe: Recipe, inputs: Inputs) -> bool:
    """Whether the specification that was found is that of the archive, as far as it goes."""
    found = inputs.model.preprocess
    if found is None:
        return False
    told = {name: value for name, value in found.to_dict().items() if value is not None}
    return {**recipe.preprocess, **told} == recipe.preprocess


def _finished(
    workspace: Workspace, options: Options, progress: Progress, recipe: Recipe | None = None
) -> Archive:
    """The archive that is there already.

    Raises:
        RunConflictError: if it is not as it was written.
    """
    archive = open_archive(workspace.output)
    try:
        refuse_changed(workspace.output, "shown as the result of this command")
    except ArchiveError as error:
        raise RunConflictError(f"{error}; give another output, or `overwrite=True`") from error
    progress.say(f"{workspace.output} is already finished")
    failed = archive.metadata.images_failed
    if failed and options.on_bad_image == "error":
        progress.warn(f"{failed} of its images failed, and were skipped when it was made")
    workspace.clear_leftovers((recipe or archive.recipe).to_json())
    if options.profile is not None and archive.metadata.profile is None:
        progress.warn("it was made without `profile=`, so no profile is written")
    elif options.profile is not None:
        write_profile(options.profile, archive.metadata.profile)
    return archive


def _is_finished(plan: Plan, workspace: Workspace) -> bool:
    """Whether the output is there and is the archive of this run.

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
            "or `overwrite=True` to replace it"
        ) from error
    if archive.recipe != plan.recipe:
        same = archive.recipe.without(LIMITS) == plan.recipe.without(LIMITS)
        way = "iaside extend goes on with it, or " if same else ""
        raise RunConflictError(
            f"{output}: is the archive of another run, which differs in: "
            f"{plan.recipe.differences(archive.recipe)}; {way}give another output, or "
            "`overwrite=True` to replace it"
        )
    changed = plan.selection.first_changed(archive["image"].tolist(), archive["image_sha256"])
    if changed is not None:
        raise RunConflictError(
            f"{output}: is the archive of other images: image {changed} has changed since; give "
            "another output, or `overwrite=True` to replace it"
        )
    return True

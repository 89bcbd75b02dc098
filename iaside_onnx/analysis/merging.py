"""Archives of one model and one set of options over disjoint images, as one archive."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.analysis.accuracy import accuracy
from iaside_onnx.analysis.estimates import estimate_archives, estimate_variables
from iaside_onnx.analysis.verification import refuse_damaged
from iaside_onnx.archive import (
    Archive,
    DecompositionMetadata,
    Rows,
    Variable,
    Workspace,
    check_output,
    class_folders,
    describe_differences,
    open_archive,
    write_archive,
)
from iaside_onnx.errors import ArchiveError, OptionError, RunConflictError
from iaside_onnx.game import Estimate
from iaside_onnx.progress import LogProgress, Progress

__all__ = ["merge"]

# The fields of the recipe in which parts may differ: which images, and how far a run went.
_LIMITS = ("budget", "target_se", "target_sis_width")
_OWN = ("images_count", "images_digest", "limit", "merged", *_LIMITS)
# Positions are below this, so that sums of them cannot overflow.
_MOST = 1 << 40
# Variables that hold positions in a source; positions are numbered through all parts.
_POSITIONS = ("image", "failed")


def merge(
    archives: Sequence[str | Path],
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Archive:
    """Merge archives into one, and estimate contributions, scores and intervals over all images.

    ``image`` is numbered through all parts: the position in the source of a part, plus the
    ``offset`` of the part in ``options.given.parts``.

    Args:
        archives: at least two, of one model, one set of options and disjoint images.
        output: the archive to write.
        overwrite: replace the output if it exists.
        progress: is told what the user should know; by default the logger ``iaside_onnx``.

    Returns:
        The merged archive.

    Raises:
        OptionError: if there are fewer than two, or the output is one of them.
        RunConflictError: if they differ in model or options, or share an image; with the
            difference.
        ArchiveError: if one cannot be read, or the output cannot be written.
    """
    if len(archives) < 2:
        raise OptionError("merging takes at least two archives")
    workspace = Workspace(Path(output), (progress or LogProgress()).warn)
    check_output(workspace.output, archives)
    # Checked before any part is read: a damaged archive must not get a new and valid digest.
    for path in archives:
        refuse_damaged(Path(path), "merged")
    parts = [open_archive(path) for path in archives]
    for part in parts:
        _check_whole(part)
    for part in parts[1:]:
        _check_same(parts[0], part)
    _check_disjoint(parts)
    with workspace.lock():
        if workspace.identity() is not None:
            raise RunConflictError(
                f"{workspace.folder}: holds an unfinished run; finish it, or write elsewhere"
            )
        try:
            if workspace.output.exists() and not overwrite:
                raise RunConflictError(
                    f"{output}: is there already; add `overwrite=True` to replace it"
                )
            _write(parts, workspace)
        finally:
            workspace.clear()
    return open_archive(output)


def _check_whole(part: Archive) -> None:
    """Refuse an archive that cannot be merged with any other."""
    if part["image"].max() >= _MOST:
        raise ArchiveError(
            f"{part.path}: its images have impossible positions; the archive was edited"
        )
    if part.recipe.inference != "population":
        raise RunConflictError(
            f"{part.path}: its intervals are about the images of its own source alone "
            "(`inference='sample'`), so it cannot be merged; make it again without that option"
        )


def _check_same(first: Archive, other: Archive) -> None:
    """Check that two parts are of one model and one set of options.

    Raises:
        RunConflictError: if they differ; the message names in what.
    """
    a, b = ({**_identity(part), **_model(part)} for part in (first, other))
    if a != b:
        raise RunConflictError(
            f"{other.path}: cannot be merged with {first.path}, from which it differs in: "
            f"{describe_differences(b, a)}"
        )
    ours, theirs = class_folders(first), class_folders(other)
    for index, names in theirs.items():
        if ours.get(index, names).isdisjoint(names):
            raise RunConflictError(
                f"{other.path}: cannot be merged with {first.path}: class {index} is the folder "
                f"{min(names)!r} here and {min(ours[index])!r} there; make both with one `classes=`"
            )


def _identity(part: Archive) -> dict[str, object]:
    return {name: value for name, value in part.recipe.to_json().items() if name not in _OWN}


def _model(part: Archive) -> dict[str, object]:
    meta = part.metadata
    return {
        "model_sha256": meta.model_sha256,
        "model_external": meta.model_external,
        "precision": meta.precision,
        "preprocess": meta.preprocess,
        "schema_version": meta.schema_version,
        "own_coalitions": part.own_coalitions,
    }


def _check_disjoint(parts: Sequence[Archive]) -> None:
    """Check by hashes that no image is in two parts.

    Raises:
        RunConflictError: if one is; the message names it.
    """
    seen: dict[str, tuple[Archive, str]] = {}
    for part in parts:
        own = dict(zip(part["image_sha256"].tolist(), part["image_id"].tolist(), strict=True))
        for digest, name in own.items():
            if digest in seen:
                other, known = seen[digest]
                raise RunConflictError(
                    f"{part.path}: its image {name} is in {other.path} too, as {known}; merge "
                    "archives of disjoint images"
                )
        seen.update({digest: (part, name) for digest, name in own.items()})


def _write(parts: Sequence[Archive], workspace: Workspace) -> None:
    """Merge the variables by their declarations, estimate again, and write the archive."""
    offsets = _offsets(parts)
    schema = parts[0].schema
    declared = schema.of(parts[0].names)
    values: dict[str, Any] = {}
    for name, variable in declared.items():
        if not variable.estimated and not variable.streamed:
            joined = _joined(parts, offsets, name, variable)
            if joined is not None:
                values[name] = joined
    found = estimate_archives(parts)
    values |= estimate_variables(found) | _folders(parts)
    if "phi_se" in declared:
        values["phi_se"] = found.standard_error
    streamed = {name: variable for name, variable in declared.items() if variable.streamed}
    metadata = _metadata(parts, offsets, values, found)
    write_archive(workspace, schema, values, metadata, _rows(parts, streamed, values))


def _offsets(parts: Sequence[Archive]) -> list[int]:
    """What is added to the positions of each part, so that they follow those of the part before."""
    highest = [
        max(int(part[name].max()) for name in _POSITIONS if name in part.names) for part in parts
    ]
    return [0, *itertools.accumulate(top + 1 for top in highest[:-1])]


def _joined(
    parts: Sequence[Archive], offsets: Sequence[int], name: str, variable: Variable
) -> NDArray[Any] | None:
    """A variable of all parts; None if it is left out because a part lacks it."""
    present = [part for part in parts if name in part.names]
    if variable.dims[:1] == ("failed",) and present:
        pass
    elif len(present) < len(parts):
        return None
    elif variable.dims[:1] != ("image",):
        # The slots are those of the part with the most; all other variables are equal in all parts.
        return max((part[name] for part in parts), key=len)
    added = dict(zip(map(id, parts), offsets, strict=True))
    return np.concatenate(
        [part[name] + added[id(part)] if name in _POSITIONS else part[name] for part in present]
    )


def _folders(parts: Sequence[Archive]) -> dict[str, Any]:
    """The class folders of all parts."""
    classes = {
        name: index for part in parts for index, own in class_folders(part).items() for name in own
    }
    if not classes:
        return {}
    names = sorted(classes)
    return {
        "class_folder": names,
        "class_folder_index": np.array([classes[name] for name in names]),
    }


def _rows(
    parts: Sequence[Archive], streamed: Mapping[str, Variable], values: Mapping[str, Any]
) -> Iterator[Rows]:
    """The streamed variables of all parts; shorter rows are padded with NaN or 0."""
    for part in parts:
        for rows in part.pieces("worth"):
            block = {}
            for name, variable in streamed.items():
                own = part.rows(name, rows.start, rows.stop)
                more = len(values[variable.dims[1]]) - own.shape[1]
                empty = np.nan if own.dtype.kind == "f" else 0
                block[name] = np.pad(own, ((0, 0), (0, more)), constant_values=empty)
            yield block


def _metadata(
    parts: Sequence[Archive],
    offsets: Sequence[int],
    values: Mapping[str, Any],
    found: Estimate,
) -> DecompositionMetadata:
    metas = [part.metadata for part in parts]
    labelled = not any(np.isnan(meta.accuracy) for meta in metas)
    sample: dict[str, Any] | None = None
    if metas[0].sample is not None:
        sample = {
            name: sum(_of_sample(part, name) for part in parts)
            for name in ("evaluations", "images")
        }
    failed = len(values.get("failed", ()))
    return replace(
        metas[0],
        options=_options(parts, offsets),
        started=min(meta.started for meta in metas),
        finished=max(meta.finished for meta in metas),
        images_asked=sum(meta.images_asked for meta in metas),
        images_done=int(values["image"].size),
        images_failed=failed,
        accuracy=accuracy(values["predicted"], values["label"]) if labelled else float("nan"),
        uniform=int(found.uniform),
        smallest_bands=list(found.smallest),
        notes=[
            f"merged from {len(parts)} archives",
            *_baseline_notes(parts[0]),
            *dict.fromkeys(note for meta in metas for note in meta.notes),
        ],
        profile=None,
        sample=sample,
        digest=None,
    )


def _baseline_notes(part: Archive) -> list[str]:
    baseline = part.recipe.baseline
    if baseline not in ("complement", "noise"):
        return []
    return [f"the baseline {baseline} was drawn for each part by itself"]


def _of_sample(part: Archive, name: str) -> int:
    number = (part.metadata.sample or {}).get(name)
    if type(number) is not int:
        raise ArchiveError(
            f"{part.path}: the attribute 'sample' does not say how far the run went; the archive "
            "is damaged or was edited"
        )
    return number


def _options(parts: Sequence[Archive], offsets: Sequence[int]) -> dict[str, Any]:
    """The options that all parts share, those of each part, and the merged recipe."""
    given = [part.metadata.options["given"] for part in parts]
    common = {k: v for k, v in given[0].items() if all(g.get(k, None) == v for g in given)}
    own = [{k: v for k, v in g.items() if k not in common} for g in given]
    digests = [part.recipe.images_digest for part in parts]
    recipe = replace(
        parts[0].recipe.without(_LIMITS),
        images_count=sum(part.metadata.images_asked for part in parts),
        images_digest=hashlib.sha256(json.dumps(digests).encode()).hexdigest(),
        limit=None,
        merged=len(parts),
    )
    described = [_part(*row) for row in zip(parts, offsets, own, strict=True)]
    return {"given": {**common, "parts": described}, "resolved": recipe.to_json()}


def _part(part: Archive, offset: int, own: Mapping[str, object]) -> dict[str, object]:
    meta = part.metadata
    return {
        "archive": part.path.name,
        "digest": meta.digest,
        "offset": offset,
        "images": meta.images_done,
        "started": meta.started,
        "finished": meta.finished,
        "given": dict(own),
    }

"""Archives of one model and one set of options over disjoint images, as one archive."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import (
    Archive,
    Failure,
    Shard,
    Workspace,
    describe_differences,
    encode,
    open_archive,
    write_archive,
)
from iaside_onnx.engine.accuracy import accuracy
from iaside_onnx.engine.decomposition import check_output
from iaside_onnx.engine.plan import LIMITS
from iaside_onnx.engine.progress import LogProgress, Progress
from iaside_onnx.engine.verification import check_in_child, estimate_again
from iaside_onnx.errors import ArchiveError, OptionError, RunConflictError
from iaside_onnx.game import Estimate
from iaside_onnx.types import Coalitions, Worth

__all__ = ["merge"]

# Which images, and how far a sample went: all that parts may differ in.
_OWN = ("images_count", "images_digest", "limit", "merged", *LIMITS)
_ROWS = 256
_MOST = 1 << 40
_PER_DRAW = ("draw", "block", "pairs", "stratum")


def merge(
    archives: Sequence[str | Path],
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Archive:
    """Make one archive of several, and estimate all that is about the images together again.

    ``image`` counts through the parts: the position in a part's source, plus the ``offset`` that
    ``options.given.parts`` has for it.

    Args:
        archives: at least two, of one model, one set of options and disjoint images.
        output: the archive to write.
        overwrite: replace it, if it is there.
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
    check_output(workspace, archives)
    # Before anything of them is read here, and lest what is damaged is signed anew.
    for path in archives:
        problems, _ = check_in_child(Path(path))
        if problems:
            raise ArchiveError(f"{path}: cannot be merged: {problems[0]} (iaside verify says all)")
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
                raise RunConflictError(f"{output}: is there already; add --overwrite to replace it")
            _write(parts, workspace)
        finally:
            workspace.clear()
    return open_archive(output)


def _check_whole(part: Archive) -> None:
    """Refuse what cannot be put together with anything."""
    if part["image"].max() >= _MOST:
        raise ArchiveError(f"{part.path}: its images are at impossible positions; it was edited")
    if part.metadata.options["resolved"].get("about", "population") != "population":
        raise RunConflictError(
            f"{part.path}: its intervals are about the images of its own source alone (--inference "
            "sample), so they cannot be put together; make it anew without that option"
        )


def _check_same(first: Archive, other: Archive) -> None:
    """Make sure that two parts are of one model and one set of options.

    Raises:
        RunConflictError: with what differs.
    """
    a, b = ({**_identity(part), **_model(part)} for part in (first, other))
    if a != b:
        raise RunConflictError(
            f"{other.path}: cannot be merged with {first.path}, from which it differs in: "
            f"{describe_differences(b, a)}"
        )
    ours, theirs = _classes(first), _classes(other)
    for index, names in theirs.items():
        if ours.get(index, names).isdisjoint(names):
            raise RunConflictError(
                f"{other.path}: cannot be merged with {first.path}: class {index} is the folder "
                f"{min(names)!r} here and {min(ours[index])!r} there; make both with one --classes"
            )


def _identity(part: Archive) -> dict[str, object]:
    resolved = part.metadata.options["resolved"]
    return {name: value for name, value in resolved.items() if name not in _OWN}


def _model(part: Archive) -> dict[str, object]:
    meta = part.metadata
    return {
        "model_sha256": meta.model_sha256,
        "model_external": dict(meta.model_external),
        "precision": meta.precision,
        "preprocess": dict(meta.preprocess),
        "schema_version": meta.schema_version,
        "sampled": part.sampled,
    }


def _classes(part: Archive) -> dict[int, set[str]]:
    """Names of the folders of each class."""
    found: dict[int, set[str]] = {}
    if "class_folder" in part.names:
        for name, index in zip(part["class_folder"], part["class_folder_index"], strict=True):
            found.setdefault(int(index), set()).add(str(name))
    return found


def _check_disjoint(parts: Sequence[Archive]) -> None:
    """Make sure that no image is in two parts, by its hash.

    Raises:
        RunConflictError: with the image.
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
    offsets = _offsets(parts)
    summary = _summary(parts, offsets)
    first = parts[0]
    values: dict[str, NDArray[Any]] = {name: first[name] for name in ("band_low", "band_high")}
    columns = max(part.worth(0, 1).shape[1] for part in parts)
    if first.sampled:
        values |= {name: _joined(parts, name) for name in _PER_DRAW if _have(parts, name)}
        values["slot"] = np.arange(columns)
    else:
        values["coalition"] = first["coalition"]
    classes = {name: index for part in parts for index, ns in _classes(part).items() for name in ns}
    if classes:
        values["class_folder"] = encode(sorted(classes))
        values["class_folder_index"] = np.array([classes[name] for name in sorted(classes)])
    found = estimate_again(parts)
    for name in ("phi", "psi", "sis"):
        for end in ("", "_low", "_high"):
            values[name + end] = np.asarray(getattr(found, name + end))
    if first.sampled:
        values["phi_se"] = found.standard_error
    attributes = _attributes(parts, offsets, summary, found)
    write_archive(workspace, summary, values, attributes, _tables(parts, columns))


def _offsets(parts: Sequence[Archive]) -> list[int]:
    """What is added to the positions of each part: one more than the highest of those before."""
    highest = [
        max(int(part[name].max()) for name in ("image", "failed") if name in part.names)
        for part in parts
    ]
    return [0, *itertools.accumulate(top + 1 for top in highest[:-1])]


def _have(parts: Sequence[Archive], name: str) -> bool:
    return all(name in part.names for part in parts)


def _joined(parts: Sequence[Archive], name: str) -> NDArray[Any]:
    return np.concatenate([part[name] for part in parts])


def _summary(parts: Sequence[Archive], offsets: Sequence[int]) -> Shard:
    failures = []
    for part, offset in zip(parts, offsets, strict=True):
        if "failed" in part.names:
            rows = zip(part["failed"], part["failed_id"], part["failed_reason"], strict=True)
            failures += [Failure(int(i) + offset, str(name), str(why)) for i, name, why in rows]
    return Shard(
        image=np.concatenate([p["image"] + o for p, o in zip(parts, offsets, strict=True)]),
        image_id=_joined(parts, "image_id").tolist(),
        image_sha256=_joined(parts, "image_sha256").tolist(),
        worth=np.zeros((0, 0), dtype=np.float32),
        phi_image=_joined(parts, "phi_image"),
        failures=tuple(failures),
        label=_joined(parts, "label"),
        predicted=_joined(parts, "predicted"),
        log_probability_whole=_joined(parts, "log_probability_whole"),
        log_probability_empty=_joined(parts, "log_probability_empty"),
        floored=_joined(parts, "floored"),
    )


def _tables(parts: Sequence[Archive], columns: int) -> Iterator[tuple[Coalitions | None, Worth]]:
    """Worths of all parts, some at a time; a sample's with coalitions, of as many slots as any."""
    for part in parts:
        for start in range(0, part["image"].size, _ROWS):
            worth = part.worth(start, start + _ROWS)
            if not part.sampled:
                yield None, worth
                continue
            more = ((0, 0), (0, columns - worth.shape[1]))
            masks = np.pad(part.coalitions(start, start + _ROWS), more)
            yield masks, np.pad(worth, more, constant_values=np.nan)


def _attributes(
    parts: Sequence[Archive], offsets: Sequence[int], summary: Shard, found: Estimate
) -> dict[str, object]:
    metas = [part.metadata for part in parts]
    first = metas[0]
    labelled = not any(np.isnan(meta.accuracy) for meta in metas)
    told: dict[str, object] = {}
    if parts[0].sampled:
        told["sample"] = {
            name: sum(_of_sample(part, name) for part in parts)
            for name in ("evaluations", "images")
        }
    return {
        **{name: getattr(first, name) for name in (
            "schema_version", "tool_version", "model_name", "model_sha256", "model_size",
            "model_opset", "model_producer", "runtime", "runtime_version", "provider", "device",
            "precision", "seed",
        )},
        **told,
        "model_external": dict(first.model_external),
        "preprocess": dict(first.preprocess),
        "options": _options(parts, offsets),
        "started": min(meta.started for meta in metas),
        "finished": max(meta.finished for meta in metas),
        "images_asked": sum(meta.images_asked for meta in metas),
        "images_done": int(summary.image.size),
        "images_failed": len(summary.failures),
        "accuracy": accuracy(summary.predicted, summary.label) if labelled else np.nan,
        "uniform": int(found.uniform),
        "smallest_bands": list(found.smallest),
        "notes": [
            f"merged from {len(parts)} archives",
            *_drawn_apart(parts[0]),
            *dict.fromkeys(note for meta in metas for note in meta.notes),
        ],
    }  # fmt: skip


def _drawn_apart(part: Archive) -> list[str]:
    baseline = part.metadata.options["resolved"]["baseline"]
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


def _options(parts: Sequence[Archive], offsets: Sequence[int]) -> dict[str, object]:
    """What all parts were given, and what each of them was given for itself."""
    given = [part.metadata.options["given"] for part in parts]
    common = {k: v for k, v in given[0].items() if all(g.get(k, None) == v for g in given)}
    own = [{k: v for k, v in g.items() if k not in common} for g in given]
    resolved = parts[0].metadata.options["resolved"]
    digests = [part.metadata.options["resolved"].get("images_digest") for part in parts]
    digest = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    told = {
        "images_count": sum(part.metadata.images_asked for part in parts),
        "images_digest": digest,
        "limit": None,
        "merged": len(parts),
        **{name: None for name in LIMITS if name in resolved},
    }
    described = [_part(*row) for row in zip(parts, offsets, own, strict=True)]
    return {"given": {**common, "parts": described}, "resolved": {**resolved, **told}}


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

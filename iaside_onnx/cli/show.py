"""``iaside show``: what an archive holds, as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from iaside_onnx.archive import Archive, open_archive, refuse_changed
from iaside_onnx.cli.classes import classes_as_json, classes_of, print_classes
from iaside_onnx.cli.commands import Command
from iaside_onnx.cli.console import print_table, printable, results, warn, write_json
from iaside_onnx.cli.interactions import (
    interactions_as_json,
    interactions_of,
    print_interactions,
)
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.options import json_option
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.report import interval_text
from iaside_onnx.report.meaning import SIS_MEANING, more_images
from iaside_onnx.report.text import json_number

__all__ = ["print_archive", "print_result", "show", "summary"]


@click.command(cls=Command, short_help="Print the table of an archive.")
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--by", type=click.Choice(["class"]),
    help="Also print accuracy, SIS and phi of each class, the most fragile first, and what its "
    "images are taken for.",
)  # fmt: skip
@click.option(
    "--classes", type=click.Path(path_type=Path), metavar="FILE",
    help="With --by class: file that maps names to class indices, either way round, or lists "
    "names in order. Default: the class folders of the images.",
)  # fmt: skip
@click.option(
    "--interactions", is_flag=True,
    help="Also print which bands need each other, and which overlap: the Shapley interaction of "
    "each pair. Needs archives of every coalition (--method exact).",
)  # fmt: skip
@json_option
@limited
def show(
    archives: tuple[Path, ...],
    by: str | None,
    classes: Path | None,
    interactions: bool,
    as_json: bool,
) -> None:
    """Print bands, contributions, distribution and score of ARCHIVES, with 95 % intervals.

    \b
    Example:
        iaside show demo.h5
        iaside show demo.h5 --by class
        iaside show demo.h5 --interactions
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    opened = _opened(archives)
    if classes is not None and by is None:
        raise OptionError(
            "`classes=FILE` names the classes of a table that was not asked for; add `by='class'`"
        )
    # All of them before anything is printed: one that cannot be had is an error.
    classified = classes_of(opened, classes) if by else []
    found = [interactions_of(archive) for archive in opened] if interactions else []
    if as_json:
        summaries = [summary(archive) for archive in opened]
        for one, own in zip(summaries, classified, strict=False):
            one.update(classes_as_json(own))
        for one, pairs in zip(summaries, found, strict=False):
            one["interactions"] = interactions_as_json(pairs)
        write_json(summaries[0] if len(summaries) == 1 else {"archives": summaries})
        return
    for archive, own_classes, pairs in zip_longest(opened, classified, found):
        print_archive(archive)
        if own_classes is not None:
            print_classes(archive, own_classes)
        if pairs is not None:
            print_interactions(pairs)


def _opened(paths: Sequence[Path]) -> list[Archive]:
    """Open archives, with a warning of each that was edited."""
    opened = [open_archive(path) for path in paths]
    for archive in opened:
        # What was edited is shown, as it may be all that is left, but not as if it were whole.
        try:
            refuse_changed(archive.path, "trusted")
        except ArchiveError as error:
            warn(str(error))
    return opened


def summary(archive: Archive) -> dict[str, Any]:
    """The results and the provenance of an archive as JSON values."""
    meta = archive.metadata
    names = ("band_low", "band_high", "phi", "phi_low", "phi_high", "psi", "psi_low", "psi_high")
    return {
        "archive": str(archive.path),
        "sis": json_number(archive["sis"]),
        "sis_low": json_number(archive["sis_low"]),
        "sis_high": json_number(archive["sis_high"]),
        "uniform": bool(meta.uniform),
        "smallest_bands": meta.smallest_bands,
        "bands": [
            {"band": band, **{name: json_number(archive[name][band]) for name in names}}
            for band in range(archive.bands)
        ],
        "accuracy": json_number(meta.accuracy),
        "mean_log_probability_whole": json_number(archive["log_probability_whole"].mean()),
        "mean_log_probability_empty": json_number(archive["log_probability_empty"].mean()),
        "images_asked": meta.images_asked,
        "images_done": meta.images_done,
        "images_failed": meta.images_failed,
        "model_name": meta.model_name,
        "model_sha256": meta.model_sha256,
        "precision": meta.precision,
        "runtime": meta.runtime,
        "runtime_version": meta.runtime_version,
        "provider": meta.provider,
        "device": meta.device,
        "tool_version": meta.tool_version,
        "started": meta.started,
        "finished": meta.finished,
        "options": meta.options,
        "preprocess": meta.preprocess,
        "notes": meta.notes,
        "digest": meta.digest,
        **({} if meta.profile is None else {"profile": meta.profile}),
        **({} if meta.sample is None else {"sample": meta.sample}),
    }


def print_result(archive: Archive, *, as_json: bool) -> None:
    """Print the archive that a command made, as JSON or as a table."""
    if as_json:
        write_json(summary(archive))
    else:
        print_archive(archive)


def print_archive(archive: Archive) -> None:
    """Print the table of one archive."""
    console = results()
    meta = archive.metadata
    options = meta.options["resolved"]
    _print_bands(console, archive)
    failed = f", {meta.images_failed} failed" if meta.images_failed else ""
    accuracy = (
        f"accuracy {meta.accuracy:.3f} on whole images"
        if math.isfinite(meta.accuracy)
        else "labels are the model's own answers"
    )
    whole, empty = (archive[f"log_probability_{w}"].mean() for w in ("whole", "empty"))
    lines = [
        f"SIS        {interval_text(archive, 'sis')}",
        f"images     {meta.images_done} of {meta.images_asked}{failed}; {accuracy}",
        f"log p      {whole:.3f} nats whole, {empty:.3f} on the baseline alone",
        f"bands      {options['bands']} {options['spacing']}, {options['partition']}; baseline "
        f"{options['baseline']}; range {options['pixel_range']}; seed {meta.seed}",
        *_sample_lines(archive),
        f"model      {meta.model_name}, {meta.precision}, sha256 {meta.model_sha256[:16]}",
        f"runtime    {meta.runtime} {meta.runtime_version}, {meta.provider}; "
        f"iaside {meta.tool_version}, {meta.finished}",
        *([] if meta.digest is None else [f"digest     {meta.digest}"]),
    ]
    if meta.profile is not None:
        lines.append(f"time       {_time_text(meta.profile)}")
    # Archives of earlier versions have the old words.
    if options.get("inference") == "sample" or options.get("about") == "images":
        lines.append("note       the intervals are for the images of this source alone")
    if meta.uniform:
        lines.append(
            "note       all contributions are equal: by convention psi is uniform and SIS is 0"
        )
    elif len(meta.smallest_bands) > 1:
        bands = ", ".join(map(str, meta.smallest_bands))
        lines.append(
            f"note       bands {bands} may each be the smallest; the intervals allow for it"
        )
    lines += [f"meaning    {SIS_MEANING[0]}", f"           {SIS_MEANING[1]}"]
    wanted = more_images(archive)
    if wanted is not None:
        lines.append(f"note       {wanted}")
    for line in lines:
        console.print(printable(line), soft_wrap=True)


def _sample_lines(archive: Archive) -> list[str]:
    """How much a sampled run evaluated; in an edited archive any part may be missing."""
    sample = archive.metadata.sample
    if sample is None:
        return []
    try:
        spent, images = int(sample["evaluations"]), int(sample["images"])
    except (KeyError, OverflowError, TypeError, ValueError):
        return ["sampled    the number of evaluations is unreadable"]
    pairs = archive["pairs"]
    each = f"{pairs.max()}" if pairs.min() == pairs.max() else f"{pairs.min()} to {pairs.max()}"
    blocks = np.unique(archive["block"]).size
    every = images << archive.bands
    return [
        f"sampled    {spent:,} evaluations, of {every:,} for all coalitions of {images:,} "
        f"image{'s' * (images != 1)}; pairs an image: {each}; blocks: {blocks}"
    ]


def _time_text(profile: Mapping[str, Any]) -> str:
    """The share of each phase in the time; in an edited archive any part may be missing."""
    try:
        wall, seconds = float(profile["wall"]), dict(profile["seconds"])
        parts = [f"{name} {100 * float(s) / wall:.1f} %" for name, s in seconds.items() if wall]
        rate = float(profile["evaluations_per_second"])
        return f"{wall:.1f} s, {rate:,.0f} evaluations/s: {', '.join(parts)}"
    except (KeyError, OverflowError, TypeError, ValueError):
        return "the profile is unreadable"


def _print_bands(console: Console, archive: Archive) -> None:
    """Print the table of bands, with signed bars of phi."""
    heads = ["band", "radius", "phi, nats [95 %]", "psi [95 %]"]
    rows = [
        [
            str(band),
            f"{archive['band_low'][band]:.3f}-{archive['band_high'][band]:.3f}",
            interval_text(archive, "phi", band),
            interval_text(archive, "psi", band),
        ]
        for band in range(archive.bands)
    ]
    console.print(printable(str(archive.path)), soft_wrap=True)
    console.print()
    print_table(console, heads, rows, archive["phi"].tolist(), "phi")
    console.print()

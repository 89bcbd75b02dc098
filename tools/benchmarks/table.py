"""The Markdown table of a record of `bench`."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from tools.shared import markdown as md

HEAD = (
    "| model | M | images | batch | raw, /s | iaside, /s | plain, /s | iaside / raw | "
    "iaside / plain | peak MiB raw, iaside, plain | first image, s |"
)
RULE = "|---|---:|---:|---:|---:|---:|---:|---|---:|---|---:|"
NOTES = (
    "/s: coalitions a second, median of the turns. raw: ONNX Runtime alone, the same batch bound "
    "in memory, images x 2^M passes. iaside: from images on disk to shards on disk; it asks the "
    "model 2^M - 1 times an image, as the whole image is a coalition and the empty one is shared, "
    "so that iaside / raw may exceed 1.",
    "plain: the method in PyTorch as the paper reads, an FFT and a pass of batch 1 for each "
    "coalition, same threads and weights, pixels already in memory; timed on {coalitions} "
    "coalitions of one image a turn, evenly spread, all of them repeated where M is small. Its "
    "log-probabilities are within {difference} nats of iaside's.",
    "iaside / raw: median over the pairs [lowest, highest]. Peak memory: of a process of its own, "
    "with all that it imports. First image: from the start of the process `iaside decompose`. "
    "tiny-cnn and vit-tiny-16 have random weights, which the speed does not depend on.",
)


def ratios(times: dict[str, list[float]], way: str) -> list[float]:
    """Time of another way over iaside's, pair by pair."""
    return [other / own for other, own in zip(times[way], times["iaside"], strict=True)]


def plain_ratios(row: dict[str, Any]) -> list[float]:
    """Iaside's coalitions a second over those of the plain way, turn by turn."""
    share = row["coalitions"] / row["plain_coalitions"]
    return [share * ratio for ratio in ratios(row["seconds"], "plain")]


def rate(row: dict[str, Any], way: str) -> float | None:
    """Coalitions a second, or None if the way was not timed."""
    times = row.get("seconds", {}).get(way)
    if not times:
        return None
    count = row["plain_coalitions"] if way == "plain" else row["coalitions"]
    return float(count / median(times))


def markdown(record: dict[str, Any]) -> str:
    """Returns the machine, the table and its notes."""
    rows = record["rows"]
    lines = [_machine(record), "", HEAD, RULE, *map(_line, rows), ""]
    timed = [row for row in rows if row.get("plain_coalitions")]
    coalitions = _range((row["plain_coalitions"] for row in timed), "{:,}")
    worst = max((row["plain_difference_nats"] for row in timed), default=0.0)
    notes = [note for note in NOTES if timed or not note.startswith("plain")]
    lines += [note.format(coalitions=coalitions, difference=f"{worst:.0e}") for note in notes]
    return "\n\n".join(["\n".join(lines[: -len(notes)]).rstrip(), *lines[-len(notes) :]])


def _machine(record: dict[str, Any]) -> str:
    machine, versions = record["machine"], record["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return (
        f"{machine['cpu']}, {record['threads']} threads of {machine['cores']} cores; "
        f"{machine['os']}; Python {machine['python']}; {named}; {record['pairs']} pairs; "
        f"{record['date'][:10]}."
    )


def _line(row: dict[str, Any]) -> str:
    times = row.get("seconds")
    peaks = row.get("peak_bytes") or {}
    cells = [row["model"], f"{row['bands']}{', sampled' if row.get('sampled') else ''}"]
    cells += [str(row["images"]) if times else "-", str(row["batch_size"])]
    cells += [_number(rate(row, way)) for way in ("raw", "iaside", "plain")]
    if times:
        found = ratios(times, "raw")
        cells.append(f"{median(found):.3f} [{min(found):.3f}, {max(found):.3f}]")
    else:
        cells.append("-")
    cells.append(f"{median(plain_ratios(row)):.1f}" if times and times["plain"] else "-")
    megabytes = [peaks.get(way) for way in ("raw", "iaside", "plain")]
    shown = [f"{peak / 2**20:.0f}" if peak else "-" for peak in megabytes]
    cells.append(", ".join(shown) if any(megabytes) else "-")
    cells.append(f"{median(row['first_seconds']):.2f}" if row.get("first_seconds") else "-")
    return md.row(cells)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _range(values: Iterable[int], form: str) -> str:
    found = sorted(set(values))
    if not found:
        return "no"
    return " to ".join(form.format(value) for value in dict.fromkeys((found[0], found[-1])))

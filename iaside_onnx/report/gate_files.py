"""What a pull request shows of a comparison: JUnit XML for its tests, Markdown for its reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal, TypeAlias

from iaside_onnx.analysis import Comparison, GateResult, Group, Series
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.files import finished_file
from iaside_onnx.outputs import check_output_file
from iaside_onnx.progress import escaped
from iaside_onnx.report.comparison_tables import (
    Table,
    answers_table,
    gates_table,
    phi_tables,
    ranking_table,
    scores_table,
    steps_table,
    trend_table,
)
from iaside_onnx.report.gate_words import advice, gate_name, level_words, measured_text, verdict

__all__ = ["Undecided", "check_gate_file", "passes", "write_junit", "write_markdown"]

Undecided: TypeAlias = Literal["pass", "fail"]
"""What an undecided gate counts as."""

_JUNIT_MARK = 'name="iaside compare"'
_MARKDOWN_MARK = "<!-- made by iaside compare -->"
# What Markdown or HTML would read as markup; GitHub also reads formulas between dollars.
_MARKUP = {ord(c): f"&#{ord(c)};" for c in "&<>|`*_~[]\\$\"'"}
# With a space of no width nobody is notified because of the name of a file.
_MARKUP[ord("@")] = "@&#8203;"


def passes(result: GateResult, undecided: Undecided) -> bool:
    """Whether a gate lets an archive pass."""
    return result.answer == "holds" or (result.answer == "undecided" and undecided == "pass")


def check_gate_file(path: Path) -> None:
    """Check, before the work starts, that a file of this module can be written there.

    Raises:
        ArchiveError: if it cannot, or what is there is no such file.
        OptionError: if the name cannot be used.
    """
    if str(path) == "-":
        raise OptionError("-: is not stdout here; give the name of a file to write")
    marks = [_JUNIT_MARK.encode(), _MARKDOWN_MARK.encode()]
    check_output_file(path, marks, overwrite=True, error=ArchiveError)


def write_junit(
    path: Path, results: Sequence[GateResult], names: Mapping[Path, str], undecided: Undecided
) -> None:
    """Write the answers of gates as JUnit XML: each archive is a suite and each gate a test.

    What fails is a failure, and so is what is undecided, unless that passes: then it is skipped.

    Args:
        path: the file to write; one that an earlier call wrote is replaced.
        results: answers of gates, those of one archive in a row.
        names: what archives are called, by their path.
        undecided: what an undecided gate counts as.

    Raises:
        ArchiveError: if the file cannot be written, or exists and is not such a file.
    """
    # Imported here, as most commands write no XML.
    from xml.etree import ElementTree as ET

    check_gate_file(path)
    root = ET.Element("testsuites", _counts("iaside compare", results, undecided))
    for archive, group in groupby(results, key=lambda result: result.archive.path):
        own, name = list(group), escaped(names[archive])
        suite = ET.SubElement(root, "testsuite", _counts(name, own, undecided))
        for result in own:
            found = {"name": gate_name(result.gate), "classname": name, "time": "0"}
            tag, attributes, text = _outcome(result, undecided)
            case = ET.SubElement(suite, "testcase", found)
            ET.SubElement(case, tag, attributes).text = text
    ET.indent(root)
    root.tail = "\n"
    with finished_file(path) as temporary:
        ET.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)


def _outcome(result: GateResult, undecided: Undecided) -> tuple[str, dict[str, str], str | None]:
    """What is inside of a test: the tag, its attributes and its text."""
    said = f"{result.answer}: {measured_text(result)}"
    if result.answer == "holds":
        return "system-out", {}, said
    whole = f"{said}; {advice(result)}"
    if passes(result, undecided):
        return "skipped", {"message": whole}, None
    return "failure", {"message": said, "type": result.answer}, whole


def _counts(name: str, results: Sequence[GateResult], undecided: Undecided) -> dict[str, str]:
    """The attributes of a test suite."""
    failures = sum(not passes(result, undecided) for result in results)
    holds = sum(result.answer == "holds" for result in results)
    return {
        "name": name,
        "tests": str(len(results)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(len(results) - failures - holds),
        "time": "0",
    }


def write_markdown(
    path: Path,
    comparison: Comparison,
    words: Sequence[str],
    results: Sequence[GateResult],
    names: Mapping[Path, str],
    found: Series | None = None,
) -> None:
    """Write a comparison and its gates as Markdown for a pull request.

    Args:
        path: the file to write; one that an earlier call wrote is replaced.
        comparison: the comparison.
        words: sentences about it.
        results: answers of gates, if there are any.
        names: what archives are called, by their path.
        found: the series, where archives are checkpoints in order.

    Raises:
        ArchiveError: if the file cannot be written, or exists and is not such a file.
    """
    check_gate_file(path)
    parts = [_MARKDOWN_MARK, "### iaside compare"]
    if results:
        parts += [
            f"**{verdict(results)}** ({level_words(results)})",
            _markdown_table(gates_table(results, names)),
        ]
    parts.append("\n".join(f"- {_plain(sentence)}" for sentence in words))
    for group in comparison.groups:
        parts += _group_parts(group, names)
    if found is not None:
        tables = (steps_table(found, names), trend_table(found))
        parts.append("Each checkpoint minus the one before, and the change per step:")
        parts += map(_markdown_table, tables)
    if len(comparison.groups) > 1:
        parts.append(_markdown_table(ranking_table(comparison, names)))
    with finished_file(path) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _group_parts(group: Group, names: Mapping[Path, str]) -> list[str]:
    """Paragraphs of Markdown about the archives of one baseline."""
    return [
        f"Baseline {group.baseline}, differences from {_plain(names[group.reference.path])}; "
        "\\* is certain:",
        _markdown_table(answers_table(group, names)),
        _markdown_table(scores_table(group, names)),
        "<details><summary>phi by band, nats</summary>",
        *map(_markdown_table, phi_tables(group, names)),
        "</details>",
    ]


def _plain(text: str) -> str:
    """Text that is shown as it is: names may come from strangers."""
    return escaped(text).translate(_MARKUP)


def _markdown_table(table: Table) -> str:
    rows = [table.heads, ["---"] * len(table.heads), *table.rows]
    lines = [
        [cell if place == 1 else _plain(cell.strip()) for cell in row]
        for place, row in enumerate(rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

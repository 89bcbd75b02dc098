"""``iaside compare``: archives of the same images beside a reference, and gates on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from iaside_onnx.cli.commands import Command
from iaside_onnx.cli.console import print_line, print_table, printable, results, warn, write_json
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.options import json_option
from iaside_onnx.errors import OptionError

if TYPE_CHECKING:
    from iaside_onnx.analysis import Comparison, Gate, GateResult, Group, Pair, Series
    from iaside_onnx.report.comparison_tables import Table
    from iaside_onnx.report.gate_files import Undecided

__all__ = ["compare"]

_NAMED = 3
"""Number of images, or files, that a warning names."""


@click.command(cls=Command, short_help="Compare archives of the same images with a reference.")
@click.argument(
    "archives",
    nargs=-1,
    required=True,
    metavar="REFERENCE ARCHIVE...",
    type=click.Path(path_type=Path),
)
@click.option(
    "--margin", multiple=True, metavar="NAME=X",
    help="Gate: accuracy, sis or phi is not below the reference's by more than X; phi in no band, "
    "in nats. May be given several times.",
)  # fmt: skip
@click.option(
    "--at-least", multiple=True, metavar="NAME=X",
    help="Gate: accuracy, sis or agreement, the share of answers that equal the reference's, is X "
    "or more. May be given several times.",
)  # fmt: skip
@click.option(
    "--undecided", type=click.Choice(["pass", "fail"]), default="fail", show_default=True,
    help="What a gate counts as that the images are too few for.",
)  # fmt: skip
@click.option(
    "--series", is_flag=True,
    help="The archives are checkpoints in order, or a folder of them, in the order of their names.",
)  # fmt: skip
@click.option(
    "--junit", type=click.Path(path_type=Path), metavar="FILE",
    help="Also write the answers of the gates as JUnit XML.",
)  # fmt: skip
@click.option(
    "--markdown", type=click.Path(path_type=Path), metavar="FILE",
    help="Also write everything as Markdown, for a pull request.",
)  # fmt: skip
@json_option
@limited
def compare(
    archives: tuple[Path, ...],
    margin: tuple[str, ...],
    at_least: tuple[str, ...],
    undecided: Undecided,
    series: bool,
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> int:
    """Compare each ARCHIVE with the REFERENCE, image by image, with 95 % intervals.

    Exit 0 if all gates hold, or none are given; otherwise exit 1. Gates are decided by intervals of
    98 %, so that one that holds while the truth lies on the margin is wrong in 2.5 % at most.
    In a series they are about each checkpoint and the first one. In the tables, p is of McNemar's
    exact test, and the error of log p the mean absolute difference, in nats.

    \b
    Example:
        iaside compare fp32.h5 int8.h5
        iaside compare fp32.h5 int8.h5 --margin accuracy=0.01 --at-least agreement=0.95
        iaside compare checkpoints --series --margin phi=0.1
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    from iaside_onnx.analysis import check_gates
    from iaside_onnx.report import gate_files

    gates = _parsed(margin, at_least)
    _check_files(junit, markdown, gates)
    comparison, checkpoints = _compared(archives, series)
    answers = check_gates(comparison, gates)
    _warn_unmatched(comparison, checkpoints)
    names, words = _described(comparison, checkpoints)
    if as_json:
        _print_json(comparison, checkpoints, words, answers)
    else:
        _print(comparison, checkpoints, words, answers, names)
    if junit is not None:
        gate_files.write_junit(junit, answers, names, undecided)
    if markdown is not None:
        gate_files.write_markdown(markdown, comparison, words, answers, names, checkpoints)
    return 0 if all(gate_files.passes(answer, undecided) for answer in answers) else 1


def _parsed(margin: Sequence[str], at_least: Sequence[str]) -> list[Gate]:
    from iaside_onnx.analysis import Gate

    found = [
        *(Gate.parse("margin", text) for text in margin),
        *(Gate.parse("at_least", text) for text in at_least),
    ]
    # A test of one name twice confuses what reads JUnit.
    return list(dict.fromkeys(found))


def _check_files(junit: Path | None, markdown: Path | None, gates: Sequence[Gate]) -> None:
    """Check, before the work starts, that what was asked for can be written.

    Raises:
        OptionError: if there would be no test in a file of tests, or both files are one.
        ArchiveError: if a file cannot be written.
    """
    from iaside_onnx.report.gate_files import check_gate_file

    if junit is not None and not gates:
        raise OptionError(
            f"{junit}: a file of tests without a test looks like a success; give `margin=NAME=X` "
            "or `at_least=NAME=X`"
        )
    if junit is not None and markdown is not None and junit.resolve() == markdown.resolve():
        raise OptionError(f"{junit}: two files of one name; give `markdown=` another")
    for path in (junit, markdown):
        if path is not None:
            check_gate_file(path)


def _compared(archives: Sequence[Path], as_series: bool) -> tuple[Comparison, Series | None]:
    """The comparison, and the series if it is one."""
    from iaside_onnx import analysis

    if not as_series:
        return analysis.compare(*archives), None
    found: list[Path] = []
    for path in archives:
        if not path.is_dir():
            found.append(path)
            continue
        inside, others = analysis.archives_in(path)
        found += inside
        if others:
            warn(f"{path}: {len(others)} that are no archives are left out: {_few(others)}")
    series = analysis.series(found)
    return series.comparison, series


def _described(
    comparison: Comparison, series: Series | None
) -> tuple[Mapping[Path, str], Sequence[str]]:
    """What archives are called, by their path, and sentences about them."""
    from iaside_onnx.report.series_words import series_words
    from iaside_onnx.report.words import comparison_words, short_names

    # Names of files may be anybody's.
    names = {path: printable(name) for path, name in short_names(comparison.archives).items()}
    words = comparison_words(comparison) if series is None else series_words(series, names)
    return names, [printable(sentence) for sentence in words]


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _warn_unmatched(comparison: Comparison, series: Series | None) -> None:
    """Warn of images that are in one archive of a pair only."""
    steps = () if series is None else series.steps[1:]
    for pair in (*comparison.pairs, *steps):
        for alone, here, there in (
            (pair.only_reference, pair.reference, pair.archive),
            (pair.only_archive, pair.archive, pair.reference),
        ):
            if alone:
                warn(
                    f"{len(alone):,} of {here['image'].size:,} images of {here.path} are not in "
                    f"{there.path}, by SHA-256, and are left out: {_few(alone)}"
                )


def _print_json(
    comparison: Comparison,
    series: Series | None,
    words: Sequence[str],
    answers: Sequence[GateResult],
) -> None:
    from iaside_onnx.report.comparison_data import comparison_data

    write_json(comparison_data(comparison, words, answers, series))


def _print(
    comparison: Comparison,
    series: Series | None,
    words: Sequence[str],
    answers: Sequence[GateResult],
    names: Mapping[Path, str],
) -> None:
    from iaside_onnx.report import comparison_tables as tables

    console = results()
    for sentence in words:
        print_line(sentence)
    for group in comparison.groups:
        _print_group(console, group, names)
    if series is not None:
        _print_part(console, "each minus the one before; * is certain")
        _table(console, tables.steps_table(series, names))
        console.print()
        _table(console, tables.trend_table(series))
    if len(comparison.groups) > 1:
        console.print()
        _table(console, tables.ranking_table(comparison, names))
    if answers:
        _print_gates(console, answers, names)


def _print_group(console: Console, group: Group, names: Mapping[Path, str]) -> None:
    from iaside_onnx.report import comparison_tables as tables

    reference, first = names[group.reference.path], group.pairs[0]
    together = f" over {first.comparisons} comparisons" if first.comparisons > 1 else ""
    _print_part(
        console,
        f"baseline {group.baseline}; differences from {reference}, 95 % together{together}; "
        "* is certain",
    )
    if any(pair.only_reference or pair.only_archive for pair in group.pairs):
        # Otherwise the numbers of a row do not add up.
        print_line(
            f"numbers of {reference} and SIS are over all images of an archive, all else over "
            "those in both"
        )
    _table(console, tables.answers_table(group, names))
    console.print()
    _table(console, tables.scores_table(group, names))
    _print_part(console, f"phi, nats: of {reference}, then differences from it")
    for number, table in enumerate(tables.phi_tables(group, names)):
        if number:
            console.print()
        _table(console, table)
    differing = [_differing_words(pair, names) for pair in group.pairs if pair.differing]
    if differing:
        console.print()
    for line in differing:
        print_line(line)


def _differing_words(pair: Pair, names: Mapping[Path, str]) -> str:
    model, reference = names[pair.archive.path], names[pair.reference.path]
    return f"{model} also differs from {reference} in: {pair.differing}"


def _print_gates(
    console: Console, answers: Sequence[GateResult], names: Mapping[Path, str]
) -> None:
    from iaside_onnx.report.comparison_tables import gates_table
    from iaside_onnx.report.gate_words import level_words, verdict

    _print_part(console, f"{verdict(answers)}; {level_words(answers)}")
    rows = gates_table(answers, names).rows
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_line("  ".join(cells).rstrip())


def _print_part(console: Console, heading: str) -> None:
    console.print()
    print_line(heading)


def _table(console: Console, table: Table) -> None:
    print_table(console, table.heads, table.rows, [0.0] * len(table.rows))

"""The terminal: results on stdout, progress on stderr, text from outside escaped."""

from __future__ import annotations

import io
import json
import math
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from iaside_onnx.progress import escaped

__all__ = [
    "ConsoleProgress",
    "PrintError",
    "Stdout",
    "Verbosity",
    "fail",
    "flag_of",
    "print_line",
    "print_table",
    "printable",
    "results",
    "show_cause",
    "unfailing_stderr",
    "warn",
    "write_json",
]

_SPARSE_SECONDS = 30.0
_WIDEST_BAR = 24
_NARROWEST_BAR = 4


class Verbosity:
    """How much the command of this process says on stderr, as its options ask for."""

    quiet = False
    verbose = False


class PrintError(OSError):
    """Stdout cannot be written to."""


class Stdout(io.TextIOWrapper):
    """Stdout whose failures can be told from those of other files."""

    def write(self, text: str) -> int:
        """Write, or raise a `PrintError`."""
        try:
            return super().write(text)
        except OSError as error:
            raise PrintError(error.errno, error.strerror) from error

    def flush(self) -> None:
        """Flush, or raise a `PrintError`."""
        try:
            super().flush()
        except OSError as error:
            raise PrintError(error.errno, error.strerror) from error


# What messages of the library name as a keyword argument, such as `labels=FILE`.
_KEYWORD = re.compile(r"`([a-z][a-z0-9_]*)=([^`]*)`")
# Options whose names are not those of Python with dashes.
_FLAGS = {"as_json": "--json", "provider_options": "--provider-option"}


def flag_of(keyword: str) -> str:
    """The option of the command line for a keyword argument of Python."""
    return _FLAGS.get(keyword, "--" + keyword.replace("_", "-"))


def _with_flags(text: str) -> str:
    """Keyword arguments that a message names, as options: "`device='cpu'`" as "--device cpu"."""

    def flag(match: re.Match[str]) -> str:
        value = "" if match[2] == "True" else match[2].strip("'()").replace(", ", ",")
        return f"{flag_of(match[1])} {value}".strip()

    return _KEYWORD.sub(flag, text)


def printable(text: str) -> str:
    """Text on one line for people at a terminal.

    Keyword arguments are named as options, and control characters are escaped.
    """
    return escaped(_with_flags(text))


class _Console(Console):
    """Markup is off, as a file name may look like markup."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Raise the error again; rich would end the process, with the run that it is in."""
        raise  # rich calls this where it handles the error


def results() -> Console:
    """The console for results."""
    return _Console()


def print_line(text: str) -> None:
    """Print a line of results, which may hold names from outside."""
    results().print(printable(text), soft_wrap=True)


def print_table(
    console: Console,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    values: Sequence[float],
    bars_of: str = "",
) -> None:
    """Print right-aligned columns, and a bar behind each row if the terminal is wide enough.

    rich.table is not used: in a narrow terminal or a pipe it cuts numbers (``0.506 [0.49…``), it
    pads lines with spaces, and it draws other lines where the terminal knows ASCII only.

    Args:
        console: where to print.
        heads: the heads of the columns.
        rows: the cells of each row.
        values: the length of each row's bar, relative to the others; the bar of a negative one is
            on the other side of an axis. No bars where all are 0.
        bars_of: the head of the bars.
    """
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in [heads, *rows]
    ]
    room = max(min(console.width - len(lines[0]) - 2, _WIDEST_BAR), 0)
    ascii_only = console.options.ascii_only
    bars = _signed_bars(values, room, ascii_only=ascii_only)
    head = bars_of if any(bars) and len(bars_of) <= room else ""
    lines = [f"{text}  {bar}".rstrip() for text, bar in zip(lines, [head, *bars], strict=True)]
    for text in [lines[0], ("-" if ascii_only else "─") * max(map(len, lines)), *lines[1:]]:
        console.print(text, soft_wrap=True)


def _signed_bars(values: Sequence[float], room: int, *, ascii_only: bool) -> list[str]:
    """A bar for each value: to the right of an axis, or to the left for a negative one.

    The axis is left out where no value is negative. Bars are rounded to half a character, with
    ASCII to a whole one.

    Args:
        values: what the bars show; those that are not finite have none.
        room: number of characters of the axis and the longest bars together.
        ascii_only: whether the terminal knows no other characters.
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0) or 1.0
    shares = [value / largest if math.isfinite(value) else 0.0 for value in values]
    below, above = -min(0.0, *shares), max(0.0, *shares)
    cells = room - (below > 0)
    if cells < _NARROWEST_BAR or not any(shares):
        return [""] * len(shares)
    # The axis stands between two characters, with at least one for whatever is on either side.
    left = min(max(round(cells * below / (below + above)), below > 0), cells - (above > 0))
    scale = min(n / end for n, end in ((left, below), (cells - left, above)) if end)
    axis = ("|" if ascii_only else "│") if below else ""
    bars = []
    for share in shares:
        whole, half = divmod(round(2 * abs(share) * scale), 2)
        if ascii_only:
            bar = ("-" if share < 0 else "#") * (whole + half)
        else:
            bar = "▐" * half + "█" * whole if share < 0 else "█" * whole + "▌" * half
        bars.append(bar.rjust(left) + axis if share < 0 else " " * left + axis + bar)
    return bars


@contextmanager
def unfailing_stderr() -> Iterator[None]:
    """Go on if stderr is full or closed: what is said there is not worth a run or an exit code."""
    with suppress(OSError):
        yield
        sys.stderr.flush()


def _print_on_stderr(line: str) -> None:
    with unfailing_stderr():
        sys.stderr.write(f"{printable(line)}\n")


def fail(message: str) -> None:
    """Print an error as one line on stderr."""
    _print_on_stderr(f"Error: {message}")


def warn(message: str) -> None:
    """Print a warning as one line on stderr."""
    _print_on_stderr(f"Warning: {message}")


def show_cause(error: BaseException) -> None:
    """With ``--verbose``, print where an error arose, and what is behind it."""
    if Verbosity.verbose:
        for line in "".join(traceback.format_exception(error)).splitlines():
            _print_on_stderr(line)


def write_json(data: Mapping[str, object]) -> None:
    """Print results as JSON; NaN, which JSON does not have, must be None already."""
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")


class _Rate(ProgressColumn):
    """Evaluations a second."""

    def __init__(self, evaluations: int) -> None:
        super().__init__()
        self._evaluations = evaluations

    def render(self, task: Task) -> Text:
        speed = task.speed
        return Text("" if speed is None else f"{speed * self._evaluations:,.0f} evaluations/s")


class ConsoleProgress:
    """A bar with rate and time left on a terminal; a few lines if stderr is a file."""

    def __init__(self) -> None:
        self._console = _Console(stderr=True)
        self._bar: Progress | None = None
        self._total = self._done = self._new = self._evaluations = 0
        self._began = self._printed = 0.0

    def say(self, line: str) -> None:
        """Print a decision."""
        if not Verbosity.quiet:
            self._print(line)

    def warn(self, line: str) -> None:
        """Print a warning."""
        self._print(f"Warning: {line}")

    def _print(self, line: str) -> None:
        with unfailing_stderr():
            self._console.print(printable(line), soft_wrap=True)

    def begin(self, images: int, finished: int, evaluations: int) -> None:
        """Open the bar."""
        if finished:
            self.say(f"{finished} of {images} images are finished already")
        self._total, self._done, self._new, self._evaluations = images, finished, 0, evaluations
        self._began = self._printed = time.monotonic()
        if self._console.is_terminal and not Verbosity.quiet:
            self._bar = Progress(
                TextColumn("images"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(evaluations),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.add_task("images", total=images, completed=finished)
            with unfailing_stderr():
                self._bar.start()

    def advance(self, images: int) -> None:
        """Move the bar, or print a line every 30 seconds."""
        self._done += images
        self._new += images
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], images)
            return
        now = time.monotonic()
        if now - self._printed >= _SPARSE_SECONDS:
            self._printed = now
            self._report(now)

    def end(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            with unfailing_stderr():
                self._bar.stop()
            self._bar = None
        if self._new:
            self._report(time.monotonic())

    def _report(self, now: float) -> None:
        seconds = max(now - self._began, 1e-9)
        rate = self._new * self._evaluations / seconds
        left = (self._total - self._done) * seconds / self._new
        ending = f", {left:.0f} s left" if self._done < self._total else f" in {seconds:.1f} s"
        self.say(f"{self._done} of {self._total} images, {rate:,.0f} evaluations/s{ending}")

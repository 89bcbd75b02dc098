"""The command ``iaside``: parses, calls, prints."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from pathlib import Path

import click

from iaside_onnx.cli.console import (
    PrintError,
    Stdout,
    fail,
    printable,
    show_cause,
    unfailing_stderr,
)
from iaside_onnx.cli.limits import join_supervisor
from iaside_onnx.cli.signals import SignalHandling, Stopped
from iaside_onnx.errors import IasideError, OptionError
from iaside_onnx.stopping import KEPT, what_to_say
from iaside_onnx.version import __version__

__all__ = ["COMMANDS", "iaside", "main"]

COMMANDS = {
    "compare": "Compare archives of the same images with a reference.",
    "convert": "Convert an archive to CSV, JSON, Parquet or NetCDF.",
    "decompose": "Decompose a model over images, into an archive.",
    "demo": "Decompose a bundled model on bundled images.",
    "export": "Bring a model of another framework to ONNX.",
    "extend": "Go on with a sampled archive where it stopped.",
    "inspect": "Print what a model takes and gives.",
    "merge": "Merge archives of one model over disjoint images into one.",
    "quantize": "Quantise a model to FP16 or INT8.",
    "report": "Write what archives say as one HTML page.",
    "show": "Print the table of an archive.",
    "verify": "Check an archive: schema, checksums, digest, arithmetic.",
}
"""Short help by command; ``iaside_onnx.cli.NAME`` has the command of the same name."""


class _LazyGroup(click.Group):
    """Imports the module of a command only when that command or its help is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The names, sorted."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"iaside_onnx.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101  # for the type checker
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "IASIDE"},
)
# Images for containers often set IASIDE_VERSION to something else.
@click.version_option(__version__, prog_name="iaside", allow_from_autoenv=False)
def iaside() -> None:
    """Audit how an image classifier uses spatial frequencies."""


def main() -> None:
    """Run the command line: exit 0 for success, 1 for a failure, 2 for wrong usage."""
    join_supervisor()
    # File names may hold any character, and the terminal may know ASCII only.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = Stdout(
            sys.stdout.buffer,
            sys.stdout.encoding,
            sys.stdout.errors,
            line_buffering=sys.stdout.line_buffering,
        )
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed by who started this process; stays open until it ends.
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    sys.exit(_run())


def _run() -> int:
    """Run the command and print its error, if any; its exit status."""
    signals = SignalHandling()
    try:
        with signals.active():
            code = iaside.main(standalone_mode=False)
            sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001  # `_failed` raises what it does not know
        if signals.received is not None:
            # Whatever was made of the exception on its way.
            return _stopped(signals.received)
        return _failed(error)
    return code if isinstance(code, int) else 0


def _stopped(number: int) -> int:
    message = what_to_say(number)
    if message is not None:
        fail(message)
    return 128 + number


def _failed(error: BaseException) -> int:
    """Print what went wrong in one sentence; raises what is an error of the program."""
    show_cause(error)
    match error:
        case click.Abort() | KeyboardInterrupt():
            return _stopped(signal.SIGINT)
        case Stopped():
            return _stopped(signal.SIGTERM)
        case click.ClickException():
            _show_usage(error)
            return error.exit_code
        case IasideError():
            fail(str(error))
            return 2 if isinstance(error, OptionError) else 1
        case MemoryError():
            fail(
                "out of memory: the model or the images need more than the machine has, or more "
                f"than --memory-limit allows; {KEPT}"
            )
            return 1
        case OSError():
            fail(_os_failure(error))
            return 1
    raise error


def _show_usage(error: click.ClickException) -> None:
    """Print wrong usage as click does, with what was typed escaped."""
    shown, message = io.StringIO(), error.format_message()
    error.show(file=shown)
    with unfailing_stderr():
        sys.stderr.write(shown.getvalue().replace(message, printable(message)))


def _os_failure(error: OSError) -> str:
    """What failed, and on which file."""
    cause = error.strerror or str(error)
    if isinstance(error, PrintError):
        # Python flushes stdout when it exits, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return f"the result cannot be printed: {cause}; an archive that was made is kept"
    if error.filename is None:
        return f"a file cannot be read or written: {cause}; {KEPT}"
    return (
        f"{os.fsdecode(error.filename)}: cannot be read or written: {cause}; correct the name or "
        "its permissions, and run the same command again"
    )

"""The command ``iaside``: parses, calls, prints."""

from __future__ import annotations

import importlib
import io
import os
import sys
from pathlib import Path

import click

from iaside_onnx.cli.console import fail
from iaside_onnx.cli.limits import INTERRUPTED, KEPT, STOPPED, Stopped, stopping_in_order
from iaside_onnx.errors import IasideError, OptionError
from iaside_onnx.version import __version__

__all__ = ["COMMANDS", "iaside", "main"]

COMMANDS = {
    "convert": "Convert an archive to CSV, JSON, Parquet or NetCDF.",
    "decompose": "Decompose a model over images, into an archive.",
    "demo": "Decompose a bundled model on bundled images.",
    "export": "Bring a model of another framework to ONNX.",
    "extend": "Go on with a sampled archive where it stopped.",
    "inspect": "Print what a model takes and gives.",
    "merge": "Merge archives of one model over disjoint images into one.",
    "quantize": "Quantise a model to FP16 or INT8.",
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


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="iaside")
def iaside() -> None:
    """Audit how an image classifier uses spatial frequencies."""


def main() -> None:
    """Run the command line: exit 0 for success, 1 for a failure, 2 for wrong usage."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # stays open until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names may hold any character, and the terminal may know ASCII only.
            stream.reconfigure(errors="backslashreplace")
    with stopping_in_order():
        sys.exit(_run())


def _run() -> int:
    """Run the command and print its error, if any; its exit status."""
    try:
        code = iaside.main(standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        fail(f"interrupted; {KEPT}")
        return INTERRUPTED
    except Stopped:
        fail(f"stopped; {KEPT}")
        return STOPPED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OptionError as error:
        fail(str(error))
        return 2
    except IasideError as error:
        fail(str(error))
        return 1
    except MemoryError:
        fail(
            "out of memory: the model or the images need more than the machine has, or more than "
            f"--memory-limit allows; {KEPT}"
        )
        return 1
    except OSError as error:
        fail(f"the result cannot be printed: {error.strerror}; an archive that was made is kept")
        # Python flushes stdout when it exits, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0

"""The command ``iaside``: parses, calls, prints."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import click

from iaside_onnx.cli.console import fail
from iaside_onnx.cli.convert import convert
from iaside_onnx.cli.decompose import decompose
from iaside_onnx.cli.demo import demo
from iaside_onnx.cli.export import export
from iaside_onnx.cli.extend import extend
from iaside_onnx.cli.inspect import inspect
from iaside_onnx.cli.limits import INTERRUPTED, KEPT, STOPPED, Stopped, stopping_in_order
from iaside_onnx.cli.merge import merge
from iaside_onnx.cli.quantize import quantize
from iaside_onnx.cli.show import show
from iaside_onnx.cli.verify import verify
from iaside_onnx.errors import IasideError, OptionError
from iaside_onnx.version import __version__

__all__ = ["iaside", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="iaside")
def iaside() -> None:
    """Audit how an image classifier uses spatial frequencies."""


for _command in (
    convert, decompose, demo, export, extend, inspect, merge, quantize, show, verify,
):  # fmt: skip
    iaside.add_command(_command)


def main() -> None:
    """Run the command line: exit 0 for success, 1 for a failure, 2 for wrong usage."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # open while the process is
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names are from anywhere, and a terminal may know ASCII only.
            stream.reconfigure(errors="backslashreplace")
    with stopping_in_order():
        sys.exit(_run())


def _run() -> int:
    """The exit status of the command line."""
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
            "memory ran out: the model or the images take more than there is, or more than "
            f"--memory-limit allows; {KEPT}"
        )
        return 1
    except OSError as error:
        fail(f"the result cannot be printed: {error.strerror}; an archive that was made is kept")
        # Python would try once more when it ends, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0

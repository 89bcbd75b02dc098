"""Optional frameworks: imported when they are used, quietly, or named with what installs them."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

from iaside_onnx.errors import ExtraMissingError
from iaside_onnx.export.code import one_line

__all__ = ["quiet", "require", "version_of"]


def require(extra: str, *modules: str) -> ModuleType:
    """Import modules of an extra; the first is given back.

    Raises:
        ExtraMissingError: One is not installed, or does not start.
    """
    found = []
    for module in modules:
        try:
            with quiet():
                found.append(importlib.import_module(module))
        except Exception as error:
            # A package that is broken, or too old for another, raises anything on import.
            missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(
                f"{error.name}."
            )
            if not missing:
                why = one_line(error) or type(error).__name__
                raise ExtraMissingError(
                    f"{module} is installed, but does not start ({why}); install it "
                    "again, in versions that go together"
                ) from error
            raise ExtraMissingError(
                f"{module} is not installed: pip install 'iaside-onnx[{extra}]'"
            ) from error
    return found[0]


def version_of(distribution: str) -> str:
    """Version of an installed package; ``unknown`` if it does not say."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what frameworks and their C++ libraries write from the terminal.

    They speak of their own internals. What goes wrong comes as an exception, and is told.
    """
    disabled = logging.root.manager.disable
    with Path(os.devnull).open("w") as nowhere, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        sys.stdout.flush()
        sys.stderr.flush()
        kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
        try:
            for descriptor in kept:
                os.dup2(nowhere.fileno(), descriptor)
            # A stream that is not the descriptor, as in tests, is turned away as well.
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield
        finally:
            for descriptor, copy in kept.items():
                os.dup2(copy, descriptor)
                os.close(copy)
            logging.disable(disabled)

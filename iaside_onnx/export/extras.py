"""Optional frameworks: imported on use, without their output; or an error with the extra."""

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

from iaside_onnx.errors import ExtraMissingError, install_extra
from iaside_onnx.export.code import one_line

__all__ = ["quiet", "require", "version_of"]


def require(extra: str, *modules: str) -> ModuleType:
    """Import modules of an extra, and return the first.

    Raises:
        ExtraMissingError: one is not installed, or cannot be imported.
    """
    found = []
    for module in modules:
        try:
            with quiet():
                found.append(importlib.import_module(module))
        except Exception as error:
            # A broken package, or one too old for another, raises any exception on import.
            missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(
                f"{error.name}."
            )
            if not missing:
                why = one_line(error) or type(error).__name__
                raise ExtraMissingError(
                    f"{module} is installed, but cannot be imported ({why}); install "
                    "compatible versions"
                ) from error
            raise ExtraMissingError(f"{module} is not installed: {install_extra(extra)}") from error
    return found[0]


def version_of(distribution: str) -> str:
    """Version of an installed package; ``unknown`` if it has no metadata."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what frameworks and their C++ libraries log, warn of and print.

    These messages are about their internals. Failures arrive as exceptions, and are reported.
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
            # sys.stdout and sys.stderr may be other streams than the descriptors, as in tests.
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield
        finally:
            for descriptor, copy in kept.items():
                os.dup2(copy, descriptor)
                os.close(copy)
            logging.disable(disabled)

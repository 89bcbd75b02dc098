"""The family of errors: each message says what, where, what was expected and what to do.

Options are named as keyword arguments in backticks, "`labels=FILE`" or "`overwrite=True`". The
command line prints these as its own options, ``--labels FILE`` or ``--overwrite``.

Each error is also the built-in error that Python programs catch for such a failure. Code that
handles a built-in error around its own calls must therefore let this family pass first.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

__all__ = [
    "ArchiveError",
    "EvaluationError",
    "ExportError",
    "ExtraMissingError",
    "IasideError",
    "ImageError",
    "ModelError",
    "OptionError",
    "OutOfMemoryError",
    "PreprocessError",
    "RunConflictError",
    "RuntimeMissingError",
    "UnknownOptionError",
    "UnknownVariableError",
]


def install_extra(extra: str) -> str:
    """What installs an extra: from a package index, and in a checkout of the project."""
    return f"pip install 'iaside-onnx[{extra}]' (in a checkout: pip install '.[{extra}]')"


def nearest(word: str, words: Collection[str], what: str) -> str:
    """The end of a message about an unknown word: the nearest known one, or else all of them.

    Upper and lower case are near.

    Args:
        word: the unknown word.
        words: those that are known.
        what: what these are, such as ``keys``.
    """
    # As with most errors, most programs never need it.
    import difflib

    known = {one.lower(): one for one in words}
    close = difflib.get_close_matches(word.lower(), known, n=1)
    return (
        f", did you mean {known[close[0]]!r}" if close else f"; the {what} are {', '.join(words)}"
    )


class IasideError(Exception):
    """A failure that the user can understand and correct; the command line exits with 1."""


class OptionError(IasideError, ValueError):
    """An option has a value that no data could work with; the command line exits with 2."""


class UnknownOptionError(IasideError, TypeError):
    """A function has no option of this name."""


class UnknownVariableError(IasideError, KeyError):
    """An archive has no variable of this name."""

    # That of KeyError would put the sentence in quotes.
    __str__ = Exception.__str__


class ImageError(IasideError, ValueError):
    """An image, a source of images or its labels cannot be used."""


class PreprocessError(IasideError, ValueError):
    """A preprocessing specification cannot be read, or does not fit the model."""


class ModelError(IasideError, ValueError):
    """The ONNX model cannot be loaded, or is not an image classifier that can be audited."""


class RuntimeMissingError(IasideError, ImportError):
    """ONNX Runtime, or the requested execution provider, is not installed or cannot start."""


class ExtraMissingError(IasideError, ImportError):
    """A requested optional package is not installed, or cannot start."""


class ExportError(IasideError, ValueError):
    """A model cannot be converted to ONNX or quantised, or the result differs from the original."""


class EvaluationError(IasideError, RuntimeError):
    """ONNX Runtime failed, or the model gave values that are no log-probabilities (NaN, infinite).

    Not an `ArithmeticError`, as most failures of the runtime are not of arithmetic.
    """


class OutOfMemoryError(IasideError, MemoryError):
    """A batch does not fit into the memory of the device; a smaller one may fit."""


class ArchiveError(IasideError, OSError):
    """An archive cannot be read or written.

    As with h5py, a damaged file is an `OSError` like one that is not there. ``errno`` is None.
    """


class RunConflictError(ArchiveError):
    """The output belongs to another run: other options, or a process that still writes it."""


def write_failure(path: Path, error: OSError) -> ArchiveError:
    """The error to raise when a file cannot be written: says why, and what to do."""
    cause = os.strerror(error.errno) if error.errno else str(error)
    return ArchiveError(
        f"{path}: cannot be written: {cause}; what is finished is kept: correct this and run the "
        "same command again"
    )

"""The one family of errors: each message names what, where, what was expected and what to do."""

from __future__ import annotations

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
]


class IasideError(Exception):
    """A failure that the user can understand and mend; the command line exits with 1."""


class OptionError(IasideError):
    """An option has a value that cannot work, whatever the data; the command line exits with 2."""


class ImageError(IasideError):
    """An image, a source of images or its labels cannot be used."""


class PreprocessError(IasideError):
    """A preprocessing specification cannot be read, or does not suit the model."""


class ModelError(IasideError):
    """The ONNX model cannot be loaded, or is not an image classifier that can be audited."""


class RuntimeMissingError(IasideError):
    """ONNX Runtime, or the execution provider asked for, is not installed or cannot start."""


class ExtraMissingError(IasideError):
    """An optional package that was asked for is not installed, or does not start."""


class ExportError(IasideError):
    """A model cannot be brought to ONNX or quantised, or the result is not what it was."""


class EvaluationError(IasideError):
    """The model gave a value that is no log-probability (NaN or infinite) for one image."""


class OutOfMemoryError(IasideError):
    """The device has no room for a batch; a smaller one may fit."""


class ArchiveError(IasideError):
    """An archive cannot be read or written."""


class RunConflictError(ArchiveError):
    """The output belongs to another run: different options, or a process that still writes it."""

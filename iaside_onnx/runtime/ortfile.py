"""Models in ONNX Runtime's own format (``.ort``), which no other program reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from iaside_onnx.errors import ModelError
from iaside_onnx.runtime.messages import reason_of
from iaside_onnx.runtime.session import import_runtime

__all__ = ["describe_ort", "is_ort"]


def is_ort(data: bytes) -> bool:
    """Whether these are the bytes of such a file: a FlatBuffer with this identifier."""
    return data[4:8] == b"ORTM"


def describe_ort(path: Path, data: bytes) -> tuple[str, Mapping[str, str]]:
    """The producer and the metadata of a model, by a session that is not run.

    The session gets bytes and not a path, so it cannot read other files.

    Raises:
        ModelError: if the runtime refuses it.
        RuntimeMissingError: if there is no runtime.
    """
    runtime = import_runtime()
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    try:
        session = runtime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
        meta = session.get_modelmeta()
    except Exception as error:  # the runtime's exceptions have no common base
        raise ModelError(
            f"{path}: ONNX Runtime refuses the model: {reason_of(error)}; make the .ort file again "
            "with the installed version of ONNX Runtime, or give the .onnx file"
        ) from error
    return str(meta.producer_name), dict(meta.custom_metadata_map)

"""ONNX files written whole or not at all, with nothing beside them that contradicts them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from google.protobuf.message import EncodeError

from iaside_onnx.errors import ExportError, IasideError, PreprocessError
from iaside_onnx.files import finished_file
from iaside_onnx.images import Preprocess, find_preprocess

__all__ = ["check_preprocess_file", "temporary_model", "write_model"]


@contextmanager
def temporary_model(output: Path) -> Iterator[Path]:
    """Give a temporary path; on success it becomes ``output``, on failure it is removed.

    Errors of the tool that name the temporary path are raised again with ``output`` in its place.
    """
    with finished_file(output) as temporary:
        try:
            yield temporary
        except IasideError as error:
            raise type(error)(str(error).replace(str(temporary), str(output))) from error


def write_model(model: onnx.ModelProto, path: Path, output: Path) -> None:
    """Write a model with its weights inside.

    Args:
        model: the model.
        path: where to write it.
        output: the final path, for the error message.

    Raises:
        ExportError: it is over Protobuf's limit of 2 GB.
    """
    try:
        data = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise ExportError(
            f"{output}: the model is over 2 GB, the limit of an ONNX file with its weights inside"
        ) from error
    path.write_bytes(data)


def check_preprocess_file(output: Path, spec: Preprocess | None) -> None:
    """Check the specification beside the output, which takes precedence over the one inside.

    Raises:
        PreprocessError: it differs from that of the export.
    """
    found = find_preprocess(output)
    if found is not None and found[0] not in (spec, spec and _without_size(spec)):
        raise PreprocessError(
            f"{found[1]} lies beside {output.name} and would be used in place of the preprocessing "
            "of this export, from which it differs; remove it, give it as `preprocess=`, or write "
            "elsewhere"
        )


def _without_size(spec: Preprocess) -> Preprocess:
    return Preprocess.from_dict({**spec.to_dict(), "input_size": None}, "")

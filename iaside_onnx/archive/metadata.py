"""The root attributes of an archive: declared once, as the fields of a dataclass.

The annotation of a field says how it is stored: ``int``, ``float`` and ``str`` as they are, a
``dict`` or a ``list`` as JSON text. An attribute whose field has a default may be absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import h5py

from iaside_onnx.archive.datasets import set_text, text_of
from iaside_onnx.archive.strict import MAX_TEXT, json_text, parse_json
from iaside_onnx.errors import ArchiveError

__all__ = ["Attribute", "DecompositionMetadata", "Metadata", "attributes_of", "read_metadata"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What was audited, by what, and how: the same for every kind of archive.

    Attributes:
        schema_version: version of the schema.
        tool_version: version of iaside that wrote the archive.
        model_name: file name of the model.
        model_sha256: hash of the bytes of the model file.
        model_external: hash of each external data file, by its location relative to the model.
        model_size: length of the model file and its external data, in bytes.
        model_opset: version of the standard operator set.
        model_producer: name and version of the program that wrote the model.
        runtime: distribution of ONNX Runtime.
        runtime_version: its version.
        provider: execution provider that ran the model.
        device: ``cpu``, ``cuda:i``, or the name of the provider.
        precision: ``int8``, or the type that most of the weights have.
        seed: seed of the run.
        options: the options as they were ``given``, and the recipe that they were ``resolved`` to.
        preprocess: how pixels become input.
        started: when the run was first started, ISO 8601 in UTC.
        finished: when the archive was written, likewise.
        images_asked: number of images of the run.
        images_done: number of images in the archive.
        images_failed: number of images that could not be evaluated.
        notes: decisions and warnings of the run, in words.
        profile: time spent in each phase, if the run was asked to record it.
        digest: hash of everything else in the file.
    """

    schema_version: int
    tool_version: str
    model_name: str
    model_sha256: str
    model_external: dict[str, str]
    model_size: int
    model_opset: int
    model_producer: str
    runtime: str
    runtime_version: str
    provider: str
    device: str
    precision: str
    seed: int
    options: dict[str, Any]
    preprocess: dict[str, Any]
    started: str
    finished: str
    images_asked: int
    images_done: int
    images_failed: int
    notes: list[str]
    profile: dict[str, Any] | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecompositionMetadata(Metadata):
    """The attributes of a decomposition.

    Attributes:
        accuracy: accuracy on whole images, NaN where labels are the model's own answers.
        uniform: 1 where all contributions are equal, so that psi and SIS are a convention.
        smallest_bands: the bands that may have the smallest contribution. Where there are several,
            the bounds of psi and SIS allow for each of them.
        sample: how far a sequential run went; absent where every image was evaluated in full.
    """

    accuracy: float
    uniform: int
    smallest_bands: list[int]
    sample: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Attribute:
    """How one attribute is stored.

    Attributes:
        kind: ``int``, ``float``, ``str``, ``dict`` or ``list``.
        type: the full type of its value.
        required: whether every archive of its kind has it.
    """

    kind: str
    type: Any
    required: bool

    def parse(self, stored: Any) -> Any:
        """The value from what HDF5 holds.

        Raises:
            TypeError: if it is of another type.
            UnicodeDecodeError: if it is not UTF-8.
            ValueError: if it is not JSON within bounds, JSON of another type, or too long.
        """
        value = text_of(stored)
        if self.kind in ("dict", "list"):
            if not isinstance(value, str):
                raise TypeError
            return parse_json(value, self.type)
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise ValueError
        value = getattr(value, "item", lambda: value)()
        if type(value).__name__ != self.kind:
            raise TypeError
        return value

    def store(self, file: h5py.File, name: str, value: Any) -> None:
        """Write the value as an attribute of the root.

        Raises:
            ArchiveError: if it could not be read back.
        """
        if self.kind in ("dict", "list"):
            try:
                text = json_text(value)
            except ValueError as error:
                raise ArchiveError(
                    f"{file.filename}: the attribute {name!r} cannot be written: {error}"
                ) from error
            set_text(file, name, text)
        elif self.kind == "str":
            set_text(file, name, value)
        else:
            file.attrs[name] = value


def attributes_of(metadata: type[Metadata]) -> Mapping[str, Attribute]:
    """The attributes that a metadata class declares, by name."""
    hints = get_type_hints(metadata)
    found = {}
    for field in fields(metadata):
        # An optional attribute is absent rather than None.
        kind = next(t for t in (*get_args(hints[field.name]), None) if t is not type(None))
        whole = hints[field.name] if get_origin(hints[field.name]) in (dict, list, None) else kind
        base = get_origin(whole) or whole
        found[field.name] = Attribute(base.__name__, whole, field.default is MISSING)
    return found


_M = TypeVar("_M", bound=Metadata)


def read_metadata(
    metadata: type[_M], attributes: Mapping[str, Any], refuse: Callable[[str], Exception]
) -> _M:
    """Parse the attributes of a file.

    Args:
        metadata: the class of the file's kind.
        attributes: root attributes, as h5py returns them.
        refuse: makes the exception for an attribute that is missing or unreadable.
    """
    parsed = {}
    for name, attribute in attributes_of(metadata).items():
        if not attribute.required and name not in attributes:
            continue
        try:
            parsed[name] = attribute.parse(attributes[name])
        except (KeyError, TypeError, ValueError) as error:
            raise refuse(name) from error
    return metadata(**parsed)

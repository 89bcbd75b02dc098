"""How the variables of a kind of archive are declared, each of them once.

To add a kind: declare a `Schema` in a module of its own, and register it with `register_kind`.
Reading, checking, digest, shards and writing work from the declaration; conversion also needs the
tables of the kind, see `iaside_onnx.analysis.register_tables`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

__all__ = ["SCHEMA_VERSION", "TEXT", "Schema", "Variable"]

SCHEMA_VERSION = 1

TEXT = "utf-8"
"""The type of a variable of text."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One dataset of an archive.

    Attributes:
        dims: names of its axes; none for a scalar.
        dtype: NumPy type, or `TEXT` for a fixed-length string.
        units: as in the CF conventions; ``1`` for a pure number, empty for text.
        long_name: description, stored in the file.
        required: whether every archive has it.
        streamed: whether it is large: written in blocks of rows, and read on demand.
        sharded: whether a shard holds it unchanged.
        estimated: whether it is estimated over the images, so that merging estimates it anew.
        coordinate: whether it names or places the elements of its axis, so that data sets have it
            as a coordinate, to group and select by.
    """

    dims: tuple[str, ...]
    dtype: str
    units: str
    long_name: str
    required: bool = True
    streamed: bool = False
    sharded: bool = False
    estimated: bool = False
    coordinate: bool = False

    def is_scale(self, name: str) -> bool:
        """Whether the variable of this name is the coordinate of an axis."""
        return self.dims == (name,)


@dataclass(frozen=True, slots=True)
class Schema:
    """The variables of one kind of archive.

    Attributes:
        kind: stored in the attribute ``kind``; a file without that attribute is a decomposition.
        variables: by name.
        variants: by the name of a variable: declarations that are added to `variables`, or replace
            some of them, in an archive that holds this variable.
    """

    kind: str
    variables: Mapping[str, Variable]
    variants: Mapping[str, Mapping[str, Variable]] = field(default_factory=dict)

    def of(self, names: Collection[str]) -> dict[str, Variable]:
        """The declarations for an archive that holds variables of these names."""
        found = dict(self.variables)
        for key, others in self.variants.items():
            if key in names:
                found |= others
        return found

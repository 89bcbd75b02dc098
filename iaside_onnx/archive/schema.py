"""The schemas of all kinds of archives: every variable is declared once.

To add a kind: declare a `Schema` in a module of its own and register it. Reading, checking,
digest, shards, writing, merging and conversion work from the declaration.
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
        long_name: what it is, in words.
        required: whether every archive has it.
        streamed: whether it is large: written some images at a time, and read on demand.
        sharded: whether a shard holds it as it is.
        estimated: whether it is estimated over the images, so that merging estimates it anew.
    """

    dims: tuple[str, ...]
    dtype: str
    units: str
    long_name: str
    required: bool = True
    streamed: bool = False
    sharded: bool = False
    estimated: bool = False

    def is_scale(self, name: str) -> bool:
        """Whether it is the coordinate of an axis, given its own name."""
        return self.dims == (name,)


@dataclass(frozen=True, slots=True)
class Schema:
    """The variables of one kind of archive.

    Attributes:
        kind: stored in the attribute ``kind``; a file without that attribute is a decomposition.
        variables: by name.
        variants: by the name of a variable: what an archive that holds this variable has besides
            `variables`, or in place of them.
    """

    kind: str
    variables: Mapping[str, Variable]
    variants: Mapping[str, Mapping[str, Variable]] = field(default_factory=dict)

    def of(self, names: Collection[str]) -> dict[str, Variable]:
        """The declarations for an archive that holds these names."""
        found = dict(self.variables)
        for key, others in self.variants.items():
            if key in names:
                found |= others
        return found

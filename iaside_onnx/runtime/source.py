"""A model as a session is made from it: its path, or its bytes where the path does not do."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ModelSource"]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model as a session is made from it.

    Attributes:
        model: a path, or bytes.
        data: files of weights that the runtime would not read by itself, by their location.
    """

    model: str | bytes
    data: Mapping[str, Path] = field(default_factory=dict)

    @contextmanager
    def attached(self, settings: Any) -> Iterator[None]:
        """Give the files of weights to the settings of a session, which is made within."""
        with ExitStack() as stack:
            buffers = [stack.enter_context(_mapped(path)) for path in self.data.values()]
            if buffers:
                settings.add_external_initializers_from_files_in_memory(
                    list(self.data), buffers, [len(buffer) for buffer in buffers]
                )
            yield


@contextmanager
def _mapped(path: Path) -> Iterator[Any]:
    """The bytes of a file, which are read when they are needed."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            yield buffer

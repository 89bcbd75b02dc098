"""Where the time of a run goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["Profile"]


class Profile:
    """Seconds spent in each phase.

    Attributes:
        seconds: by the name of the phase; phases that run side by side may sum to more than the
            whole.
    """

    def __init__(self, synchronize: Callable[[], None] | None = None) -> None:
        """Nothing spent so far.

        Args:
            synchronize: waits for the device at the end of each phase; without it what a GPU was
                asked in one phase may be counted in a later one.
        """
        self.seconds: dict[str, float] = defaultdict(float)
        self._synchronize = synchronize
        self._lock = Lock()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time until the context ends; from any thread."""
        start = time.perf_counter()
        try:
            yield
            if self._synchronize is not None:
                self._synchronize()
        finally:
            spent = time.perf_counter() - start
            with self._lock:
                self.seconds[name] += spent

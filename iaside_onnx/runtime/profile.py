"""Where the time of a run goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

__all__ = ["PHASES", "Profile"]

PHASES = ("wait for decode", "fft", "mix", "model", "gather", "write")
"""What follows one after the other in a run."""


class Profile:
    """Seconds spent in each phase of a run.

    Attributes:
        seconds: by the name of the phase.
        wall: seconds from the first image to the last, in this process.
        images: how many were evaluated in it.
        evaluations: of coalitions, likewise.
        synchronize: waits for the device at the end of each phase, so that what a GPU was asked in
            one is not counted in a later one; this slows the run, so by default nothing waits.
    """

    def __init__(self) -> None:
        self.synchronize: Callable[[], None] | None = None
        self._lock = Lock()
        self.clear()

    def clear(self) -> None:
        """Forget what was spent so far, as on a look at a few images."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.wall = 0.0
        self.images = 0
        self.evaluations = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time until the context ends; from any thread."""
        start = time.perf_counter()
        try:
            yield
            # Decoding happens beside the rest, on threads that have no device.
            if self.synchronize is not None and name != "decode":
                self.synchronize()
        finally:
            spent = time.perf_counter() - start
            with self._lock:
                self.seconds[name] += spent

    def add(self, seconds: Mapping[str, float], share: float) -> None:
        """Count a share of what another process spent, by the name of the phase."""
        for name, spent in seconds.items():
            self.seconds[name] += share * spent

    def as_dict(self) -> dict[str, object]:
        """As JSON values; the phases and what is left, ``other``, sum to ``wall``.

        ``decode`` is what all reads took, most of them on threads beside the phases.
        """
        seconds = {name: self.seconds.get(name, 0.0) for name in PHASES}
        seconds["other"] = self.wall - sum(seconds.values())
        return {
            "wall": self.wall,
            "images": self.images,
            "evaluations": self.evaluations,
            "evaluations_per_second": self.evaluations / self.wall if self.wall else 0.0,
            "seconds": seconds,
            "decode": self.seconds.get("decode", 0.0),
        }

"""Time spent in each phase of a run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

__all__ = ["PHASES", "Profile"]

PHASES = ("wait for decode", "fft", "mix", "model", "gather", "write")
"""The phases of a run; they do not overlap."""


class Profile:
    """Seconds spent in each phase of a run.

    Attributes:
        seconds: by the name of the phase.
        wall: seconds from the first image to the last, in this process.
        images: number of images evaluated in this process.
        evaluations: number of coalitions evaluated, likewise.
        synchronize: called at the end of each phase to wait for the device, so that work that a
            GPU was given in one phase is not counted in a later one. Waiting slows the run, so it
            is None by default.
    """

    def __init__(self) -> None:
        self.synchronize: Callable[[], None] | None = None
        self._lock = Lock()
        self.clear()

    def clear(self) -> None:
        """Reset to zero, as after the probe of a few images."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.wall = 0.0
        self.images = 0
        self.evaluations = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time until the context ends to a phase; from any thread."""
        start = time.perf_counter()
        try:
            yield
            # Images are decoded on other threads, which have no device.
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
        """As JSON values; the phases and the rest, ``other``, sum to ``wall``.

        ``decode`` is the time of all reads, most of which run on other threads beside the phases.
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

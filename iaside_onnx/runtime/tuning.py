"""Tuning of the batch size: the fastest for a model on its device."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from iaside_onnx.runtime.predictor import Predictor

__all__ = ["fastest_batch"]

_SECONDS_PER_SIZE = 0.25
_MAX_RUNS = 50
_GAIN = 1.02
"""A larger batch must be faster by this factor to be worth its memory."""
_PATIENCE = 2
"""So many sizes in a row without a gain end the search in one direction."""
_MAX_BYTES = 1 << 28


def fastest_batch(
    predictor: Predictor,
    most: int,
    seconds: float = 5.0,
    first: int = 8,
    most_bytes: int = _MAX_BYTES,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[int, str]:
    """Time powers of two upwards from ``first`` while they gain, then downwards.

    Args:
        predictor: the model, run on whatever its buffer holds; it keeps the size that is returned.
        most: the largest size to try.
        seconds: no size is begun after this time; even a slow size is run twice.
        first: the size to begin with.
        most_bytes: the largest size of a batch of images, in bytes.
        clock: gives the time in seconds.

    Returns:
        The size, and a note of what was tried.

    Raises:
        EvaluationError: if the runtime fails.
        OutOfMemoryError: if not even one image fits into memory.
    """
    callback, predictor.on_smaller_batch = predictor.on_smaller_batch, None
    most = max(min(most, most_bytes // predictor.image_bytes), 1)
    first = min(first, 1 << (most.bit_length() - 1))
    upwards = [first << i for i in range(most.bit_length()) if first << i <= most]
    downwards = [first >> i for i in range(1, first.bit_length())]
    end = clock() + seconds
    rates: dict[int, float] = {}
    for sizes in (upwards, downwards):
        behind = 0
        for size in sizes:
            # One slower size may have been disturbed by another process; two in a row were not.
            if behind == _PATIENCE or (rates and clock() > end):
                break
            predictor.resize(size)
            rate = _rate(predictor, clock)
            if predictor.batch_size != size:  # memory ran out
                if sizes is upwards:
                    break
                continue
            behind = behind + 1 if rates and rate < _GAIN * max(rates.values()) else 0
            rates[size] = rate
    top = max(rates.values(), default=0.0)
    chosen = min((s for s, rate in rates.items() if rate * _GAIN >= top), default=1)
    predictor.resize(chosen)
    predictor.on_smaller_batch = callback
    tried = ", ".join(f"{size}: {rates[size]:,.0f}" for size in sorted(rates))
    return chosen, f"batch size: {chosen}, the fastest of those tried ({tried} images a second)"


def _rate(predictor: Predictor, clock: Callable[[], float]) -> float:
    """Images a second at the predictor's batch size, by the fastest run: others were disturbed."""
    predictor.run_buffer()
    times: list[float] = []
    while len(times) < _MAX_RUNS and sum(times) < _SECONDS_PER_SIZE:
        begun = clock()
        predictor.run_buffer()
        times.append(clock() - begun)
    return predictor.batch_size / float(np.min(times))

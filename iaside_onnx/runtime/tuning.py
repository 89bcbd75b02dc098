"""The batch size that is fastest for a model on its device."""

from __future__ import annotations

import time

import numpy as np

from iaside_onnx.runtime.predictor import Predictor

__all__ = ["fastest_batch"]

_SECONDS_EACH = 0.25
_MOST_RUNS = 50
_GAIN = 1.02
"""A larger batch must be so much faster to be worth its memory."""
_ENOUGH = 2
_MOST_BYTES = 1 << 28


def fastest_batch(
    predictor: Predictor,
    most: int,
    seconds: float = 5.0,
    first: int = 8,
    most_bytes: int = _MOST_BYTES,
) -> tuple[int, str]:
    """Try powers of two from the first up while they gain, then down, on what is in the buffer.

    Args:
        predictor: is left with the batch size that is returned.
        most: the largest size that makes sense.
        seconds: no size is begun after so long; one that is slow is run twice.
        first: where to begin.
        most_bytes: of images in a batch.

    Returns:
        The size, and a line that says what was tried.
    """
    told, predictor.on_smaller_batch = predictor.on_smaller_batch, None
    most = max(min(most, most_bytes // predictor.image_bytes), 1)
    first = min(first, 1 << (most.bit_length() - 1))
    upwards = [first << i for i in range(most.bit_length()) if first << i <= most]
    downwards = [first >> i for i in range(1, first.bit_length())]
    end = time.perf_counter() + seconds
    rates: dict[int, float] = {}
    for sizes in (upwards, downwards):
        behind = 0
        for size in sizes:
            # One that falls behind may have been disturbed; two in a row say that it is over.
            if behind == _ENOUGH or (rates and time.perf_counter() > end):
                break
            predictor.resize(size)
            rate = _rate(predictor)
            if predictor.batch_size != size:  # memory ran out
                if sizes is upwards:
                    break
                continue
            behind = behind + 1 if rates and rate < _GAIN * max(rates.values()) else 0
            rates[size] = rate
    top = max(rates.values(), default=0.0)
    chosen = min((s for s, rate in rates.items() if rate * _GAIN >= top), default=1)
    predictor.resize(chosen)
    predictor.on_smaller_batch = told
    tried = ", ".join(f"{size}: {rates[size]:,.0f}" for size in sorted(rates))
    return chosen, f"batch size: {chosen}, the fastest of those tried ({tried} images a second)"


def _rate(predictor: Predictor) -> float:
    """Images a second at the predictor's batch size; the fastest run, as others were disturbed."""
    predictor.run_buffer()
    times: list[float] = []
    while len(times) < _MOST_RUNS and sum(times) < _SECONDS_EACH:
        begun = time.perf_counter()
        predictor.run_buffer()
        times.append(time.perf_counter() - begun)
    return predictor.batch_size / float(np.min(times))

"""Images read ahead on threads, in order, so that the model never waits for a file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from iaside_onnx.errors import ImageError, OptionError
from iaside_onnx.images.preprocess import Preprocess
from iaside_onnx.images.sample import ImageSource, Sample

__all__ = ["load_ahead"]

_HAND_OVER_SECONDS = 1e-3
_SLOW_READS = 2


def load_ahead(
    source: ImageSource,
    indices: Sequence[int],
    spec: Preprocess,
    threads: int = 2,
    ahead: int = 8,
    timer: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Sample | ImageError]:
    """Each image of ``indices``, in that order; one that cannot be read comes as its error.

    Images that take no longer to read than a thread takes to hand them over, as small arrays, are
    read when they are asked for; from the second in a row that takes longer, on threads.

    At most ``ahead`` images are held or being read at a time. Closing the iterator waits for the
    reads that have begun, drops the others, and leaves no thread. Each read happens inside of a
    context that ``timer`` makes.

    Raises:
        OptionError: ``threads`` or ``ahead`` is below 1.
    """
    if threads < 1 or ahead < 1:
        raise OptionError(
            f"Reading ahead needs at least 1 thread and 1 image, found {threads} and {ahead}."
        )

    def read(index: int) -> Sample | ImageError:
        try:
            with timer():
                return source.read(index, spec)
        except ImageError as error:
            return error

    return _load(read, indices, threads, ahead)


def _load(
    read: Callable[[int], Sample | ImageError], indices: Sequence[int], threads: int, ahead: int
) -> Iterator[Sample | ImageError]:
    left = iter(indices)
    slow = 0
    while slow < _SLOW_READS:
        index = next(left, None)
        if index is None:
            return
        start = time.perf_counter()
        item = read(int(index))
        slow = slow + 1 if time.perf_counter() - start > _HAND_OVER_SECONDS else 0
        yield item
    pool = ThreadPoolExecutor(threads, thread_name_prefix="iaside-images")
    waiting: deque[Future[Sample | ImageError]] = deque()
    try:
        for index in left:
            if len(waiting) == ahead:
                yield waiting.popleft().result()
            waiting.append(pool.submit(read, int(index)))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

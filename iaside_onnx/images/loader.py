"""Prefetch images on a thread pool, in order, so that the model does not wait for files."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from iaside_onnx.errors import ImageError, OptionError
from iaside_onnx.images.preprocess import Preprocess
from iaside_onnx.images.source import ImageSource, PreparedImage

__all__ = ["load_ahead"]

# About the time that a thread pool needs to return a result.
_DISPATCH_SECONDS = 1e-3
_SLOW_READS = 2


def load_ahead(
    source: ImageSource,
    indices: Sequence[int],
    spec: Preprocess,
    threads: int = 2,
    ahead: int = 8,
    timer: Callable[[], AbstractContextManager[None]] = nullcontext,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[PreparedImage | ImageError]:
    """Yield each image of ``indices``, in that order; a failed read yields its error.

    An image that is read faster than a thread pool can return it, such as a small array, is read in
    the caller's thread. After two slower reads in a row, all further images are read on threads.

    Closing the iterator waits for reads that have begun, cancels the others, and joins the threads.

    Args:
        source: where the images are read from.
        indices: positions of the images in the source.
        spec: preprocessing; ``input_size`` must be set.
        threads: size of the thread pool, at least 1.
        ahead: most images that are held or being read at a time, at least 1.
        timer: makes a context manager that is entered for each read.
        clock: seconds since any fixed time, to tell slow reads from fast ones.

    Raises:
        OptionError: ``threads`` or ``ahead`` is below 1.
    """
    if threads < 1 or ahead < 1:
        raise OptionError(
            f"reading ahead needs at least 1 thread and 1 image, found {threads} and {ahead}"
        )

    def read(index: int) -> PreparedImage | ImageError:
        try:
            with timer():
                return source.read(index, spec)
        except ImageError as error:
            return error

    return _load(read, indices, threads, ahead, clock)


def _load(
    read: Callable[[int], PreparedImage | ImageError],
    indices: Sequence[int],
    threads: int,
    ahead: int,
    clock: Callable[[], float],
) -> Iterator[PreparedImage | ImageError]:
    remaining = iter(indices)
    slow = 0
    while slow < _SLOW_READS:
        index = next(remaining, None)
        if index is None:
            return
        start = clock()
        item = read(int(index))
        slow = slow + 1 if clock() - start > _DISPATCH_SECONDS else 0
        yield item
    pool = ThreadPoolExecutor(threads, thread_name_prefix="iaside-images")
    pending: deque[Future[PreparedImage | ImageError]] = deque()
    try:
        for index in remaining:
            if len(pending) == ahead:
                yield pending.popleft().result()
            pending.append(pool.submit(read, int(index)))
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

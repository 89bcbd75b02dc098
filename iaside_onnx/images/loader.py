"""Images read ahead on threads, in order, so that the model never waits for a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from iaside_onnx.errors import ImageError, OptionError
from iaside_onnx.images.preprocess import Preprocess
from iaside_onnx.images.sample import ImageSource, Sample

__all__ = ["load_ahead"]


def load_ahead(
    source: ImageSource,
    indices: Sequence[int],
    spec: Preprocess,
    threads: int = 2,
    ahead: int = 8,
) -> Iterator[Sample | ImageError]:
    """Each image of ``indices``, in that order; one that cannot be read comes as its error.

    At most ``ahead`` images are held or being read at a time. Closing the iterator waits for the
    reads that have begun, drops the others, and leaves no thread.

    Raises:
        OptionError: ``threads`` or ``ahead`` is below 1.
    """
    if threads < 1 or ahead < 1:
        raise OptionError(
            f"Reading ahead needs at least 1 thread and 1 image, found {threads} and {ahead}."
        )
    return _load(source, indices, spec, threads, ahead)


def _load(
    source: ImageSource, indices: Sequence[int], spec: Preprocess, threads: int, ahead: int
) -> Iterator[Sample | ImageError]:
    def read(index: int) -> Sample | ImageError:
        try:
            return source.read(index, spec)
        except ImageError as error:
            return error

    pool = ThreadPoolExecutor(threads, thread_name_prefix="iaside-images")
    waiting: deque[Future[Sample | ImageError]] = deque()
    try:
        for index in indices:
            if len(waiting) == ahead:
                yield waiting.popleft().result()
            waiting.append(pool.submit(read, int(index)))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

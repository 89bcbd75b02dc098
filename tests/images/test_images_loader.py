"""Prefetching: order, errors, bounded memory, no thread left, and which reads go to threads.

The clock of the loader is that of the source, which advances only while an image is read.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import GeneratorType

import numpy as np
import pytest

from iaside_onnx.errors import ImageError, OptionError
from iaside_onnx.images import PreparedImage, Preprocess, SourceKind, load_ahead

SPEC = Preprocess((1, 1, 1))
FAST, SLOW = 1e-5, 1e-2
CALLER, POOL = "caller's thread", "thread pool"
DEFECT = 666
# Not a measure of time: it ends a test that would hang.
HANG = 60


class FakeSource:
    """A source of numbers, whose reads take as long as they are told to.

    Args:
        seconds: time that the read of an image takes on the clock of the source.
        wait_for: event that the read of an image waits for.
        sets: event that the read of an image sets.

    Attributes:
        now: time on the clock, in seconds.
        begun: images whose read has begun, in that order.
        places: for each of them, the thread that reads it.
    """

    kind: SourceKind = "arrays"
    ids: Sequence[str] = ()
    labels = None
    classes = None
    size = None
    notes: Sequence[str] = ()

    def __init__(
        self,
        seconds: Callable[[int], float] = lambda _: FAST,
        wait_for: Mapping[int, threading.Event] | None = None,
        sets: Mapping[int, threading.Event] | None = None,
    ) -> None:
        self.seconds = seconds
        self.wait_for = wait_for or {}
        self.sets = sets or {}
        self.now = 0.0
        self.begun: list[int] = []
        self.places: list[str] = []
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return 1000

    def describe(self) -> str:
        return "fake"

    def sha256(self, index: int) -> str:
        return str(index)

    def read(self, index: int, spec: Preprocess) -> PreparedImage:
        assert spec is SPEC
        with self._changed:
            self.now += self.seconds(index)
            self.begun.append(index)
            self.places.append(place())
            self._changed.notify_all()
        if index in self.sets:
            self.sets[index].set()
        if index in self.wait_for:
            assert self.wait_for[index].wait(HANG)
        if index % 10 == 7:
            raise ImageError(f"image {index}")
        if index == DEFECT:
            raise RuntimeError("a defect")
        return PreparedImage(np.full((1, 1, 1), index, np.float32), str(index))

    def clock(self) -> float:
        return self.now

    def wait_until_begun(self, count: int) -> None:
        """Wait until so many reads have begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.begun) >= count, HANG)

    def place_of(self, indices: Sequence[int]) -> list[str]:
        """Where each of the images was read."""
        return [self.places[self.begun.index(index)] for index in indices]


def slow(_: int) -> float:
    return SLOW


def fast(_: int) -> float:
    return FAST


def place() -> str:
    """Whether this is the caller's thread or one of the loader's."""
    current = threading.current_thread()
    if current is threading.main_thread():
        return CALLER
    assert current.name.startswith("iaside-images")
    return POOL


def pool_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("iaside-images")]


def load(
    source: FakeSource, indices: Sequence[int], threads: int = 2, ahead: int = 8
) -> Iterator[PreparedImage | ImageError]:
    return load_ahead(source, indices, SPEC, threads, ahead, clock=source.clock)


def texts(items: Iterator[PreparedImage | ImageError]) -> list[str]:
    return [str(x) if isinstance(x, ImageError) else x.sha256 for x in items]


@pytest.mark.parametrize("seconds", [fast, slow])
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_order_is_kept_and_errors_come_in_their_place(
    seconds: Callable[[int], float], threads: int, ahead: int
) -> None:
    """Images would be evaluated with the labels of others."""
    indices = [5, 17, 3, 3, 900, 7, 40]
    found = texts(load(FakeSource(seconds), indices, threads, ahead))
    assert found == ["5", "image 17", "3", "3", "900", "image 7", "40"]
    assert pool_threads() == []


def test_a_slow_image_does_not_change_the_order() -> None:
    """Image 3 is read before image 2, and still comes after it."""
    read = threading.Event()
    source = FakeSource(slow, wait_for={2: read}, sets={3: read})
    assert texts(load(source, range(6), ahead=3)) == ["0", "1", "2", "3", "4", "5"]


def test_no_more_than_ahead_is_held() -> None:
    """Memory would grow with the number of images."""
    indices = range(0, 300, 10)
    source = FakeSource(slow)
    for taken, _ in enumerate(load(source, indices, ahead=4)):
        # The first two are read when they are asked for; then four are read ahead.
        expected = taken + 1 if taken < 2 else min(taken + 4, len(indices))
        source.wait_until_begun(expected)
        assert len(source.begun) == expected


def test_closing_early_reads_no_more_and_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C would first read all images that wait in the queue."""
    gate = threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    # No interface tells when the queue has been cancelled; only then may the reads go on.
    def closed(
        pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        shutdown(pool, wait=False, cancel_futures=cancel_futures)
        gate.set()
        shutdown(pool, wait=wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", closed)
    source = FakeSource(slow, wait_for={30: gate, 40: gate})
    items = load(source, range(0, 1000, 10))
    for _ in range(3):
        next(items)
    source.wait_until_begun(5)
    assert isinstance(items, GeneratorType)
    items.close()
    assert sorted(source.begun) == [0, 10, 20, 30, 40]
    assert pool_threads() == []


def test_a_loader_that_is_never_used_starts_no_thread() -> None:
    load(FakeSource(slow), range(10))
    assert pool_threads() == []


@pytest.mark.parametrize("seconds", [fast, slow])
def test_a_defect_is_raised_and_leaves_no_thread(seconds: Callable[[int], float]) -> None:
    """A defect of a source would look like a bad image."""
    with pytest.raises(RuntimeError, match="a defect"):
        list(load(FakeSource(seconds), [1, 2, 3, DEFECT, 4]))
    assert pool_threads() == []


@pytest.mark.parametrize(("threads", "ahead"), [(0, 8), (2, 0)])
def test_impossible_options(threads: int, ahead: int) -> None:
    with pytest.raises(OptionError, match="at least 1"):
        load_ahead(FakeSource(), [1], SPEC, threads, ahead)


@pytest.mark.parametrize(
    ("seconds", "on_caller"),
    [
        # Returning a small array from a thread takes longer than reading it.
        (fast, 20),
        # The model would wait for every file.
        (slow, 2),
        # A single slow read now and then would move all later ones to costlier threads.
        (lambda index: SLOW if index % 2 == 0 else FAST, 20),
        # The first images are cached in memory; those after them would be read one by one.
        (lambda index: SLOW if index >= 4 else FAST, 6),
    ],
    ids=["fast", "slow", "now and then", "slow from 4 on"],
)
def test_reads_go_to_threads_after_two_slow_ones(
    seconds: Callable[[int], float], on_caller: int
) -> None:
    indices = [i for i in range(30) if i % 10 < 7][:20]
    ranks = {index: rank for rank, index in enumerate(indices)}
    source = FakeSource(lambda index: seconds(ranks[index]))
    assert texts(load(source, indices, threads=3, ahead=4)) == [str(i) for i in indices]
    assert source.place_of(indices) == [CALLER] * on_caller + [POOL] * (20 - on_caller)


def test_a_read_that_fails_counts_as_slow_too() -> None:
    """A folder of large broken files would be read one by one."""
    source = FakeSource(slow)
    assert texts(load(source, [7, 0, 1])) == ["image 7", "0", "1"]
    assert source.place_of([7, 0, 1]) == [CALLER, CALLER, POOL]


@pytest.mark.parametrize("seconds", [fast, slow])
def test_the_timer_is_entered_and_left_once_per_read(seconds: Callable[[int], float]) -> None:
    """Time spent on decoding would be counted twice, or not at all for images that fail."""
    entered, left = Counter[str](), Counter[str]()
    lock = threading.Lock()

    @contextmanager
    def timer() -> Iterator[None]:
        with lock:
            entered[place()] += 1
        try:
            yield
        finally:
            with lock:
                left[place()] += 1

    source = FakeSource(seconds)
    items = load_ahead(source, [0, 1, 7, 3, 17], SPEC, timer=timer, clock=source.clock)
    assert texts(items) == ["0", "1", "image 7", "3", "image 17"]
    assert entered == left == Counter(source.places)


def test_the_timer_is_around_the_read_and_nothing_else() -> None:
    """The time of whoever takes the images would be counted as decoding."""
    source = FakeSource(fast)
    spent: list[float] = []

    @contextmanager
    def timer() -> Iterator[None]:
        begun = source.now
        yield
        spent.append(source.now - begun)

    for _ in load_ahead(source, range(5), SPEC, timer=timer, clock=source.clock):
        source.now += 1.0
    assert spent == pytest.approx([FAST] * 5)

"""Which reads go to threads, by a clock that runs only while an image is read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from iaside_onnx.errors import ImageError
from iaside_onnx.images import PreparedImage, Preprocess, SourceKind, load_ahead, loader

SPEC = Preprocess((1, 1, 1))
FAST, SLOW = 1e-5, 1e-2
HERE, THERE = "here", "on a thread"
BAD = 99


class Timed:
    """A source whose images take the seconds they are told to, and that knows who reads them."""

    kind: SourceKind = "arrays"
    ids: Sequence[str] = ()
    labels = None
    classes = None
    size = None

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.where: dict[int, str] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return 1000

    def describe(self) -> str:
        return "timed"

    def sha256(self, index: int) -> str:
        return str(index)

    def read(self, index: int, spec: Preprocess) -> PreparedImage:
        assert spec is SPEC
        with self._lock:
            self.now += self.seconds(index)
            self.where[index] = place()
        if index == BAD:
            raise ImageError("bad")
        return PreparedImage(np.full((1, 1, 1), index, np.float32), str(index))

    @property
    def places(self) -> list[str]:
        """Where each image was read, in the order of their numbers."""
        return [place for _, place in sorted(self.where.items())]


def place() -> str:
    """Whether this is the caller's thread or one of the loader's."""
    current = threading.current_thread()
    if current is threading.main_thread():
        return HERE
    assert current.name.startswith("iaside-images")
    return THERE


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], float]], Timed]:
    """Makes a source whose reads are all that moves the loader's clock."""

    def make(seconds: Callable[[int], float]) -> Timed:
        source = Timed(seconds)
        monkeypatch.setattr(loader, "time", SimpleNamespace(perf_counter=lambda: source.now))
        return source

    return make


Make = Callable[[Callable[[int], float]], Timed]


def numbers(source: Timed, count: int = 20) -> list[str]:
    """What the loader gives for the first so many images."""
    items = load_ahead(source, range(count), SPEC, threads=3, ahead=4)
    return [item.sha256 for item in items if isinstance(item, PreparedImage)]


def test_fast_reads_stay_on_the_callers_thread(timed: Make) -> None:
    """Handing over a small array takes longer than to read it: threads make the run slower."""
    source = timed(lambda _: FAST)
    assert numbers(source) == [str(i) for i in range(20)]
    assert source.places == [HERE] * 20


def test_slow_reads_go_to_threads_from_the_third_on(timed: Make) -> None:
    """The model waits for every file of a whole data set."""
    source = timed(lambda _: SLOW)
    assert numbers(source) == [str(i) for i in range(20)]
    assert source.places == [HERE] * 2 + [THERE] * 18


def test_one_slow_read_now_and_then_is_no_reason(timed: Make) -> None:
    """A single hiccup of the disk moves all later reads to threads that cost more."""
    source = timed(lambda index: SLOW if index % 2 == 0 else FAST)
    assert numbers(source) == [str(i) for i in range(20)]
    assert source.places == [HERE] * 20


def test_a_source_that_becomes_slow_goes_to_threads_then(timed: Make) -> None:
    """The first images are in the cache, those on the disk are read one after the other."""
    source = timed(lambda index: SLOW if index >= 5 else FAST)
    assert numbers(source) == [str(i) for i in range(20)]
    assert source.places == [HERE] * 7 + [THERE] * 13


def test_a_read_that_fails_takes_its_time_too(timed: Make) -> None:
    """A folder of large broken files is read one after the other."""
    source = timed(lambda _: SLOW)
    items = list(load_ahead(source, [BAD, 0, 1], SPEC))
    assert isinstance(items[0], ImageError)
    assert source.where == {BAD: HERE, 0: HERE, 1: THERE}


@pytest.mark.parametrize("seconds", [FAST, SLOW])
def test_the_timer_is_entered_and_left_once_a_read(seconds: float, timed: Make) -> None:
    """Time spent on decoding is counted twice, not at all, or without the images that fail."""
    entered, left = Counter[str](), Counter[str]()

    @contextmanager
    def timer() -> Iterator[None]:
        entered[place()] += 1
        try:
            yield
        finally:
            left[place()] += 1

    source = timed(lambda _: seconds)
    assert len(list(load_ahead(source, [0, 1, BAD, 3, 4], SPEC, timer=timer))) == 5
    assert entered == left == Counter(source.places)


def test_the_timer_is_around_the_read_and_nothing_else(timed: Make) -> None:
    """The time of whoever takes the images is counted as decoding."""
    source = timed(lambda _: FAST)
    spent: list[float] = []

    @contextmanager
    def timer() -> Iterator[None]:
        begun = source.now
        yield
        spent.append(source.now - begun)

    for _ in load_ahead(source, range(5), SPEC, timer=timer):
        source.now += 1.0
    assert spent == pytest.approx([FAST] * 5)

"""The fastest batch size, found on a predictor and a clock that do as they are told."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from iaside_onnx.runtime import Predictor, tuning


class Fake:
    """A predictor that needs the time it is told to, and holds no more images than told."""

    def __init__(
        self, rate: Callable[[int], float], *, holds: int = 1 << 30, image_bytes: int = 4
    ) -> None:
        self.rate, self.holds, self.image_bytes = rate, holds, image_bytes
        self.now = 0.0
        self.batch_size = 16
        self.runs: list[int] = []
        self.told: list[int] = []
        self.callback = self.told.append
        self.on_smaller_batch: Callable[[int], None] | None = self.callback

    def resize(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def run_buffer(self) -> None:
        self.runs.append(self.batch_size)
        if self.batch_size <= self.holds:
            self.now += self.batch_size / self.rate(self.batch_size)
            return
        self.now += 1e-3
        self.batch_size //= 2
        if self.on_smaller_batch is not None:
            self.on_smaller_batch(self.batch_size)

    @property
    def tried(self) -> list[int]:
        """Batch sizes in the order in which they were first run."""
        return list(dict.fromkeys(self.runs))


class NoRoom(Fake):
    """Memory that runs out as soon as the buffers are made, before anything is run."""

    def resize(self, batch_size: int) -> None:
        self.batch_size = min(batch_size, self.holds)
        if self.batch_size < batch_size and self.on_smaller_batch is not None:
            self.on_smaller_batch(self.batch_size)


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The search on a fake and its clock; checks what holds whatever is found."""

    def run(fake: Fake, most: int = 1024, seconds: float = 1e9, **words: int) -> int:
        clock = SimpleNamespace(perf_counter=lambda: fake.now)
        monkeypatch.setattr(tuning, "time", clock)
        chosen, note = tuning.fastest_batch(cast(Predictor, fake), most, seconds, **words)
        assert fake.batch_size == chosen
        assert fake.on_smaller_batch is fake.callback
        assert fake.told == []
        assert note.startswith(f"batch size: {chosen}, ")
        return chosen

    return run


def table(**rates: float) -> Callable[[int], float]:
    """Images a second by size, as ``b8=100``; 1 for every other."""
    return lambda size: rates.get(f"b{size}", 1.0)


def peak(best: int) -> Callable[[int], float]:
    """Images a second that halve with every step away from the best size."""
    return lambda size: 1e6 * min(size / best, best / size)


@pytest.mark.parametrize("best", [1 << i for i in range(11)])
def test_the_fastest_is_found_wherever_it_is(best: int, search: Callable[..., int]) -> None:
    """Sizes below 8 or far above are never reached, and runs take twice the time."""
    assert search(Fake(peak(best))) == best


@pytest.mark.parametrize("best", [1, 4, 16, 64, 512])
def test_it_is_found_from_wherever_the_search_begins(best: int, search: Callable[..., int]) -> None:
    """GPUs are given sizes that a CPU wants, or none below the first."""
    fake = Fake(peak(best))
    assert search(fake, first=64) == best
    assert fake.tried[0] == 64


def test_what_was_measured_is_in_the_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell from the archive why this size was taken."""
    fake = Fake(table(b4=50, b8=1000, b16=2000, b32=500, b64=250))
    monkeypatch.setattr(tuning, "time", SimpleNamespace(perf_counter=lambda: fake.now))
    _, note = tuning.fastest_batch(cast(Predictor, fake), 1024, 1e9)
    assert note.endswith("(2: 1, 4: 50, 8: 1,000, 16: 2,000, 32: 500, 64: 250 images a second)")


@pytest.mark.parametrize(("larger", "chosen"), [(101, 8), (110, 16)])
def test_of_two_that_are_equally_fast_the_smaller_is_taken(
    larger: float, chosen: int, search: Callable[..., int]
) -> None:
    """Memory is spent on what is noise, or a real gain is left."""
    assert search(Fake(table(b8=100, b16=larger))) == chosen


def test_one_disturbed_size_does_not_stop_the_search(search: Callable[..., int]) -> None:
    """Another process that takes the cores for a moment decides over hours of work."""
    fake = Fake(table(b8=100, b16=10, b32=200, b64=20, b128=300, b256=30, b512=30))
    assert search(fake) == 128
    assert fake.tried[:7] == [8, 16, 32, 64, 128, 256, 512]


def test_two_sizes_that_gain_nothing_end_it(search: Callable[..., int]) -> None:
    """Sizes that are only slower, and need ever more memory, are tried to the last."""
    fake = Fake(peak(8))
    assert search(fake) == 8
    assert fake.tried == [8, 16, 32, 4, 2]


def test_a_disturbed_run_does_not_count(search: Callable[..., int]) -> None:
    """The mean of a few runs is that of their hiccups."""
    fake = Fake(lambda size: peak(32)(size) / (9 if size == 32 and len(fake.runs) % 4 else 1))
    assert search(fake) == 32


@pytest.mark.parametrize(("most", "chosen"), [(1024, 1024), (100, 64), (8, 8), (5, 4), (1, 1)])
def test_no_size_is_above_the_most(most: int, chosen: int, search: Callable[..., int]) -> None:
    """A batch that a shard never fills: the model computes rows that nobody reads."""
    fake = Fake(peak(1 << 20))
    assert search(fake, most) == chosen
    assert max(fake.runs) <= most


@pytest.mark.parametrize(("bits", "chosen"), [(20, 256), (24, 16), (27, 2), (28, 1), (40, 1)])
def test_buffers_stay_within_256_mib(bits: int, chosen: int, search: Callable[..., int]) -> None:
    """Looking for the fastest size makes a machine swap, or the kernel kill the process."""
    fake = Fake(peak(1 << 20), image_bytes=1 << bits)
    assert search(fake) == chosen
    assert max(fake.runs) == chosen


def test_the_bound_of_buffers_is_the_callers(search: Callable[..., int]) -> None:
    """A GPU's memory is bounded by what suits a laptop."""
    fake = Fake(peak(1 << 20), image_bytes=1 << 24)
    assert search(fake, first=64, most_bytes=1 << 29) == 32
    assert max(fake.runs) == 32


@pytest.mark.parametrize("kind", [Fake, NoRoom])
@pytest.mark.parametrize("holds", [8, 32, 128])
def test_memory_that_runs_out_ends_the_way_up(
    kind: type[Fake], holds: int, search: Callable[..., int]
) -> None:
    """A size that does not fit is chosen, or the user is warned of a batch nobody asked for."""
    fake = kind(peak(1 << 20), holds=holds)
    assert search(fake) == holds
    assert max(fake.runs) <= 2 * holds


@pytest.mark.parametrize("kind", [Fake, NoRoom])
def test_a_device_that_holds_two_images_is_given_two(
    kind: type[Fake], search: Callable[..., int]
) -> None:
    """The larger the model, the more is lost: its images go through one by one."""
    assert search(kind(peak(1 << 20), holds=2)) == 2


@pytest.mark.parametrize("seconds", [0.0, 5.0])
def test_no_size_is_begun_when_the_time_is_up(seconds: float, search: Callable[..., int]) -> None:
    """A model that takes seconds an image is searched for an hour."""
    fake = Fake(lambda _: 1.0)
    assert search(fake, seconds=seconds) == 8
    assert fake.tried == [8]
    assert len(fake.runs) <= 2


def test_time_that_is_up_on_the_way_keeps_the_best_so_far(search: Callable[..., int]) -> None:
    """The answer is the size at which the clock happened to stop."""
    fake = Fake(lambda size: {8: 80.0, 16: 320.0, 32: 20.0}[size])
    # 8 needs 0.1 s a run and 16 half of that; 32 ends at 4.5 s, after two of its runs.
    assert search(fake, seconds=2.0) == 16
    assert fake.tried == [8, 16, 32]

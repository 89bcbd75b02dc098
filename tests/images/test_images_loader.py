"""Reading ahead: order, errors, bounded memory, no thread left."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import GeneratorType

import numpy as np
import pytest

from iaside_onnx.errors import ImageError, OptionError
from iaside_onnx.images import PreparedImage, Preprocess, SourceKind, load_ahead

SPEC = Preprocess((1, 1, 1))


class Counted:
    """A source that keeps count of what is being read, and waits where it is told to."""

    kind: SourceKind = "arrays"
    ids: Sequence[str] = ()
    labels = None
    classes = None
    size = None

    def __init__(self, wait_for: dict[int, threading.Event] | None = None) -> None:
        self.wait_for = wait_for or {}
        self.begun: list[int] = []

    def __len__(self) -> int:
        return 1000

    def describe(self) -> str:
        return "counted"

    def sha256(self, index: int) -> str:
        return str(index)

    def read(self, index: int, spec: Preprocess) -> PreparedImage:
        assert spec is SPEC
        self.begun.append(index)
        if index in self.wait_for:
            assert self.wait_for[index].wait(timeout=30)
        if index % 10 == 7:
            raise ImageError(f"image {index}")
        if index == 666:
            raise RuntimeError("a defect")
        return PreparedImage(np.full((1, 1, 1), index, np.float32), str(index))


def ours() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("iaside-images")]


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_order_is_kept_and_errors_come_in_their_place(threads: int, ahead: int) -> None:
    indices = [5, 17, 3, 3, 900, 7, 40]
    found = list(load_ahead(Counted(), indices, SPEC, threads, ahead))
    assert [str(x) if isinstance(x, ImageError) else x.sha256 for x in found] == [
        "5", "image 17", "3", "3", "900", "image 7", "40",
    ]  # fmt: skip
    assert ours() == []


def test_a_slow_first_image_does_not_change_the_order() -> None:
    """The second is done before the first, and still comes second."""
    gate = threading.Event()
    source = Counted({0: gate})
    results = load_ahead(source, np.arange(3).tolist(), SPEC, threads=2, ahead=3)
    threading.Timer(0.05, gate.set).start()
    assert [x.sha256 for x in results if isinstance(x, PreparedImage)] == ["0", "1", "2"]


def test_no_more_than_ahead_is_held() -> None:
    source = Counted()
    results = load_ahead(source, range(0, 1000, 10), SPEC, threads=2, ahead=4)
    for taken, _ in enumerate(results):
        # Four are submitted before the first is given out, and one for each that is taken.
        assert len(source.begun) <= taken + 4


def test_closing_early_reads_no_more_and_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two reads are under way when the iterator is closed; those that wait must not begin."""
    gate = threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    def closed(
        pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        shutdown(pool, wait=False, cancel_futures=cancel_futures)
        gate.set()
        shutdown(pool, wait=wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", closed)
    source = Counted({10: gate, 20: gate})
    results = load_ahead(source, range(0, 1000, 10), SPEC, threads=2, ahead=8)
    next(results)
    assert isinstance(results, GeneratorType)
    results.close()
    assert ours() == []
    assert set(source.begun) <= {0, 10, 20}


def test_a_loader_that_is_never_used_starts_no_thread() -> None:
    load_ahead(Counted(), range(10), SPEC)
    assert ours() == []


def test_a_defect_is_raised_and_leaves_no_thread() -> None:
    with pytest.raises(RuntimeError, match="a defect"):
        list(load_ahead(Counted(), [1, 666, 2], SPEC))
    assert ours() == []


@pytest.mark.parametrize(("threads", "ahead"), [(0, 8), (2, 0)])
def test_impossible_options(threads: int, ahead: int) -> None:
    with pytest.raises(OptionError, match="at least 1"):
        load_ahead(Counted(), [1], SPEC, threads, ahead)

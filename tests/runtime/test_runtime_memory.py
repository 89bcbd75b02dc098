"""What every `Memory` must do, and that all that is computed stays in it."""

from __future__ import annotations

import ctypes
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iaside_onnx import all_coalitions
from iaside_onnx.errors import OutOfMemoryError
from iaside_onnx.runtime import (
    Classifier,
    Game,
    Predictor,
    WorthEvaluator,
    load_classifier,
    read_graph,
)
from iaside_onnx.runtime.memory import CudaMemory, HostMemory, Memory, retry_after_release
from iaside_onnx.spectrum import band_index
from iaside_onnx.types import LAYOUTS, PIXEL_RANGES, Layout, PixelRange
from tests.runtime.fake_device import FakeDevice, install_fft
from tests.support.onnx_models import Net

DTYPES = ["float32", "float16", "float64", "uint8"]


class MemoryContract:
    """Tests that each implementation of `Memory` inherits; ``memory`` makes one."""

    @pytest.fixture
    def memory(self) -> Memory:
        raise NotImplementedError

    def bytes_at(self, address: int, length: int) -> bytes:
        """What is at an address, by other means than those of the memory."""
        return ctypes.string_at(address, length)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_zeros_are_zero_contiguous_and_of_their_type(self, memory: Memory, dtype: str) -> None:
        """ONNX Runtime would read past the end, or in another order."""
        array = memory.zeros((3, 4, 5), np.dtype(dtype))
        assert array.shape == (3, 4, 5)
        assert array.dtype == np.dtype(dtype)
        assert array.flags.c_contiguous
        assert not memory.to_host(array).any()

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_arrays_come_back_as_they_were(self, memory: Memory, dtype: str) -> None:
        """Outputs would be those of another batch, or of another type."""
        values = np.arange(24).reshape(2, 3, 4).astype(dtype)
        array = memory.zeros((2, 3, 4), dtype)
        array[...] = memory.xp.asarray(values)
        found = memory.to_host(array)
        assert type(found) is np.ndarray
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)

    def test_a_pointer_is_where_the_values_are(self, memory: Memory) -> None:
        """A binding would read and write memory of somebody else."""
        values = np.arange(12, dtype=np.float32).reshape(4, 3)
        array = memory.zeros((4, 3), np.float32)
        array[...] = memory.xp.asarray(values)
        memory.synchronize()
        assert self.bytes_at(memory.pointer(array), 48) == values.tobytes()
        # A batch is bound as rows of a larger array.
        assert self.bytes_at(memory.pointer(array[2:]), 24) == values[2:].tobytes()

    def test_release_and_synchronize_leave_arrays_in_use_alone(self, memory: Memory) -> None:
        """Memory is released in the middle of a run, to try once more."""
        array = memory.zeros((1000,), np.float32)
        array += memory.xp.float32(7)
        address = memory.pointer(array)
        memory.release()
        memory.synchronize()
        other = memory.zeros((1000,), np.float32)
        assert memory.pointer(array) == address != memory.pointer(other)
        assert (memory.to_host(array) == 7).all()

    def test_no_room_is_a_memory_error(self, memory: Memory) -> None:
        """The batch would not be halved; the run would end with another exception."""
        with pytest.raises(MemoryError):
            memory.zeros((1 << 50,), np.float32)

    def test_the_device_is_named_as_onnx_runtime_names_it(self, memory: Memory) -> None:
        """Binding would fail."""
        kind, index = memory.device
        assert kind in ("cpu", "cuda")
        assert index >= 0


class TestHostMemory(MemoryContract):
    """NumPy's arrays."""

    @pytest.fixture
    def memory(self) -> Memory:
        return HostMemory()

    def test_to_host_copies_nothing(self, memory: Memory) -> None:
        """Each batch's outputs would be copied for nothing."""
        array = memory.zeros((3,), np.float32)
        assert memory.to_host(array) is array


class TestFakeDevice(MemoryContract):
    """The device of the tests below is one as the others are."""

    @pytest.fixture
    def memory(self) -> Memory:
        return FakeDevice()

    def test_arrays_of_host_and_device_do_not_mix(self, memory: Memory) -> None:
        """What CuPy refuses would pass here."""
        array = memory.zeros((3,), np.float32)
        for add in (np.add, memory.xp.add):
            with pytest.raises(TypeError, match="of the host"):
                add(array, np.ones(3))
        with pytest.raises(TypeError, match="of the host"):
            array[...] = np.ones(3)


@pytest.mark.gpu
class TestCudaMemory(MemoryContract):
    """CuPy's arrays."""

    @pytest.fixture
    def memory(self) -> Memory:
        pytest.importorskip("cupy")
        return CudaMemory(0)

    def bytes_at(self, address: int, length: int) -> bytes:
        runtime = importlib.import_module("cupy").cuda.runtime
        found = ctypes.create_string_buffer(length)
        runtime.memcpy(ctypes.addressof(found), address, length, runtime.memcpyDeviceToHost)
        return found.raw


def test_memory_that_runs_out_once_is_released_and_asked_again() -> None:
    """A run would end where memory that is only held for later use would have done."""
    memory, calls = FakeDevice(), list[int]()

    def make() -> str:
        calls.append(memory.released)
        if not memory.released:
            raise MemoryError
        return "made"

    assert retry_after_release(memory, make) == "made"
    assert calls == [0, 1]


def test_memory_that_runs_out_twice_is_one_sentence() -> None:
    """A traceback of NumPy or CuPy, where a smaller batch would do."""

    def make() -> None:
        raise MemoryError

    with pytest.raises(OutOfMemoryError, match=r"take a smaller `batch_size=`$"):
        retry_after_release(HostMemory(), make)


def test_what_is_made_at_once_releases_nothing() -> None:
    """The pool of the GPU would be emptied for each image."""
    memory = FakeDevice()
    assert retry_after_release(memory, lambda: 5) == 5
    assert memory.released == 0


@pytest.mark.parametrize("pixel_range", PIXEL_RANGES)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_that_is_computed_stays_on_the_device(
    layout: Layout, dtype: str, pixel_range: PixelRange, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An array of the host among those of a GPU is an error that only a GPU shows."""
    install_fft(monkeypatch)
    net = Net((3, 9, 8), layout=layout, dtype=dtype)
    loaded = load_classifier(read_graph(net.save(tmp_path / "net.onnx")), device="cpu")
    rng = np.random.default_rng(1)
    images = rng.random((2, 3, 9, 8), dtype=np.float32)
    offset, whole = images
    settings: dict[str, Any] = {
        "image_shape": (3, 9, 8),
        "scale": np.full(3, 200.0, np.float32),
        "shift": np.linspace(0, 20, 3, dtype=np.float32),
        "batch_size": 4,
    }
    found = []
    for memory in (HostMemory(), FakeDevice()):
        model = Classifier(loaded.facts, loaded.signature, loaded.execution, memory)
        predictor = Predictor(model, **settings)
        evaluator = WorthEvaluator(predictor, band_index(9, 8, 3), 3, pixel_range)
        game = Game(offset, whole - offset, all_coalitions(3), whole)
        chain = Game(offset, whole - offset, np.array([1, 3, 7, 2], dtype=np.uint64), None, 2)
        answers = list(evaluator.evaluate([game, chain]))
        assert [answer.error for answer in answers] == [None, None]
        found.append([predictor(images), *(answer.values for answer in answers)])
    # Rounding to whole numbers may differ by one where the transforms do by rounding.
    tolerance = 1e-3 if dtype == "float32" else 0.5
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=0, atol=tolerance)

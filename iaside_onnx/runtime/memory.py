"""Where arrays live: in the host's memory by NumPy, or in a GPU's by CuPy."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import OutOfMemoryError, RuntimeMissingError, install_extra

__all__ = ["CudaMemory", "HostMemory", "Memory", "retry_after_release"]

_T = TypeVar("_T")


class Memory(Protocol):
    """Allocates arrays that ONNX Runtime can read and write by pointer."""

    xp: Any
    """The array module, NumPy or CuPy."""
    device: tuple[str, int]
    """The device's type and number, as ONNX Runtime names them."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A contiguous array of zeros.

        Raises:
            MemoryError: if memory runs out.
        """

    def pointer(self, array: Any) -> int:
        """Address of the first element."""

    def to_host(self, array: Any) -> NDArray[Any]:
        """The array as a NumPy array; itself if it is one, else a copy."""

    def synchronize(self) -> None:
        """Wait until all operations on the arrays have finished."""

    def release(self) -> None:
        """Free memory that is cached for reuse; arrays in use stay."""


class HostMemory:
    """The host's memory."""

    xp: Any = np
    device = ("cpu", 0)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Zeros by NumPy."""
        return np.zeros(shape, dtype=dtype)

    def pointer(self, array: Any) -> int:
        """Address of the first element."""
        return int(array.ctypes.data)

    def to_host(self, array: Any) -> NDArray[Any]:
        """The array itself."""
        return np.asarray(array)

    def synchronize(self) -> None:
        """Do nothing: NumPy is synchronous."""

    def release(self) -> None:
        """Do nothing: NumPy caches nothing."""


class CudaMemory:
    """The memory of one NVIDIA GPU.

    CuPy runs on its current stream, and ONNX Runtime on a stream of its own. `synchronize` before
    a run makes CuPy's writes visible to the runtime. A run returns when the runtime's stream has
    finished.
    """

    def __init__(self, index: int) -> None:
        """Make the GPU the current device of this thread.

        Raises:
            RuntimeMissingError: if CuPy is not installed, or finds no such GPU.
        """
        try:
            self.xp = importlib.import_module("cupy")
            importlib.import_module("cupyx.scipy.fft")
            importlib.import_module("cupy.cuda.cufft")
        except ImportError as error:
            raise RuntimeMissingError(
                f"--device cuda needs CuPy ({error}): {install_extra('cuda')}"
            ) from error
        try:
            found = self.xp.cuda.runtime.getDeviceCount()
            if index < found:
                self.xp.cuda.Device(index).use()
        except self.xp.cuda.runtime.CUDARuntimeError as error:
            raise RuntimeMissingError(
                f"CuPy finds no NVIDIA GPU ({error}): check the driver, or use --device cpu"
            ) from error
        if index >= found:
            raise RuntimeMissingError(
                f"there is no GPU cuda:{index}: CuPy finds {found}, from cuda:0"
            )
        self.device = ("cuda", index)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Zeros by CuPy, whose out-of-memory error is a `MemoryError`."""
        return self.xp.zeros(shape, dtype=dtype)

    def pointer(self, array: Any) -> int:
        """Address of the first element, on the GPU."""
        return int(array.data.ptr)

    def to_host(self, array: Any) -> NDArray[Any]:
        """A copy."""
        return np.asarray(self.xp.asnumpy(array))

    def synchronize(self) -> None:
        """Wait for CuPy's current stream."""
        self.xp.cuda.get_current_stream().synchronize()

    def release(self) -> None:
        """Empty CuPy's memory pool."""
        self.xp.get_default_memory_pool().free_all_blocks()


def retry_after_release(memory: Memory, make: Callable[[], _T]) -> _T:
    """Return what ``make`` returns; if memory runs out, release cached memory and retry once.

    Raises:
        OutOfMemoryError: if memory runs out again.
    """
    with suppress(MemoryError):
        return make()
    memory.release()
    try:
        return make()
    except MemoryError as error:
        raise OutOfMemoryError(
            "memory ran out while an image was filtered; take a smaller --batch-size"
        ) from error

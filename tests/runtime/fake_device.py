"""A device that is not there: its arrays refuse to be mixed with the host's, as CuPy's do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import fft

__all__ = ["DeviceArray", "FakeDevice", "install_fft"]


class DeviceArray(np.ndarray[Any, Any]):
    """An array of the fake device."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        out = options.pop("out", ())
        if out:
            options["out"] = tuple(_unwrap(array) for array in out)
        result = getattr(ufunc, method)(*map(_unwrap, inputs), **options)
        return out[0] if out else _wrap(result)

    def __setitem__(self, key: Any, value: Any) -> None:
        _unwrap(value)
        super().__setitem__(key, value)


def _unwrap(value: Any) -> Any:
    """As NumPy's array.

    Raises:
        TypeError: if it is an array of the host.
    """
    if type(value) is np.ndarray and value.ndim:
        raise TypeError("an array of the host, where one of the device was expected")
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def _wrap(value: Any) -> Any:
    return value.view(DeviceArray) if isinstance(value, np.ndarray) else value


def _on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        out = options.get("out")
        result = function(
            *map(_unwrap, args), **{name: _unwrap(value) for name, value in options.items()}
        )
        return _wrap(result) if out is None else out

    return call


class _Module:
    """NumPy's functions on arrays of the device."""

    def asarray(self, values: Any, dtype: Any = None) -> DeviceArray:
        """A copy of the host's array on the device; an array of the device is itself."""
        if isinstance(values, DeviceArray) and dtype in (None, values.dtype):
            return values
        return np.array(values, dtype=dtype).view(DeviceArray)

    def stack(self, arrays: Any, axis: int = 0) -> Any:
        return _wrap(np.stack([_unwrap(array) for array in arrays], axis))

    def __getattr__(self, name: str) -> Any:
        value = getattr(np, name)
        return _on_device(value) if callable(value) and not isinstance(value, type) else value


class FakeDevice:
    """A `Memory` of which ONNX Runtime sees host memory, and everything else a device."""

    xp: Any = _Module()
    device = ("cpu", 0)

    def __init__(self) -> None:
        self.released = 0

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.zeros(shape, dtype).view(DeviceArray)

    def pointer(self, array: Any) -> int:
        return int(array.ctypes.data)

    def to_host(self, array: Any) -> NDArray[Any]:
        assert isinstance(array, DeviceArray)
        return np.array(array.view(np.ndarray))

    def synchronize(self) -> None:
        pass

    def release(self) -> None:
        self.released += 1


def install_fft(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the device's FFT where CuPy's would be."""
    functions = {name: _on_device(getattr(fft, name)) for name in ("rfft2", "ifft", "irfft")}
    monkeypatch.setitem(sys.modules, "cupyx.scipy.fft", SimpleNamespace(**functions))

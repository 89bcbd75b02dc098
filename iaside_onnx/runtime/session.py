"""ONNX Runtime: is it there, and does the session run where it was asked to run."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from iaside_onnx.errors import ModelError, OptionError, RuntimeMissingError

__all__ = ["Execution", "available_providers", "import_runtime", "open_session", "usable_cores"]

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_INSTALL_CPU = "pip install 'iaside-onnx[cpu]'"
_INSTALL_CUDA = "pip install 'iaside-onnx[cuda]'"


@dataclass(frozen=True, slots=True)
class Execution:
    """A session and where it runs.

    Attributes:
        session: the ``onnxruntime.InferenceSession``.
        runtime: name of the installed distribution.
        runtime_version: its version.
        provider: the execution provider that runs the model.
        device: ``cpu`` or ``cuda:i``; the provider's name for any other.
        threads: threads that one operator may use on the CPU.
    """

    session: Any
    runtime: str
    runtime_version: str
    provider: str
    device: str
    threads: int


def _installed() -> list[str]:
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def import_runtime() -> ModuleType:
    """Import ``onnxruntime``.

    Raises:
        RuntimeMissingError: if neither build is installed, or both are: they share one module, and
            the one that was installed last has overwritten the other.
    """
    installed = _installed()
    if len(installed) > 1:
        raise RuntimeMissingError(
            "both onnxruntime and onnxruntime-gpu are installed, and each overwrites the other: "
            "run `pip uninstall -y onnxruntime onnxruntime-gpu`, then "
            f"{_INSTALL_CPU} or {_INSTALL_CUDA}"
        )
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        detail = f" ({error})" if installed else ""
        raise RuntimeMissingError(
            f"ONNX Runtime is not installed{detail}: {_INSTALL_CPU} for the CPU, or "
            f"{_INSTALL_CUDA} for an NVIDIA GPU"
        ) from error


def available_providers() -> list[str]:
    """Execution providers that the installed runtime was built with."""
    return list(import_runtime().get_available_providers())


def usable_cores() -> int:
    """Cores that this process may use; the runtime's own default ignores limits and affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(
    path: Path, device: str = "auto", provider: str | None = None, threads: int | None = None
) -> Execution:
    """Load a model for the device asked for, and nothing else.

    Args:
        path: the ONNX file.
        device: ``cpu``, ``cuda``, ``cuda:i``, or ``auto``: CUDA where the runtime has it, else CPU.
        provider: an execution provider by name, instead of a device.
        threads: threads for one operator on the CPU; by default all cores of the process.

    Raises:
        OptionError: if the device is no device, or both a device and a provider are given.
        RuntimeMissingError: if the runtime or the provider is missing or does not start.
        ModelError: if the runtime refuses the model.
    """
    runtime = import_runtime()
    built = list(runtime.get_available_providers())
    name, options, label = _resolve(device, provider, built)
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads or usable_cores()
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    if name != _CPU:
        # Without this a provider that cannot start, or cannot run a node, hands it to the CPU.
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if name == _CUDA and hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    try:
        session = runtime.InferenceSession(
            str(path), sess_options=settings, providers=[(name, options)]
        )
    except Exception as error:  # the runtime's exceptions have no base of their own
        if name == _CPU:
            raise ModelError(f"{path}: ONNX Runtime refuses the model: {_short(error)}") from error
        raise RuntimeMissingError(
            f"{name} cannot run {path.name}: {_short(error)}; check the driver and "
            f"{_INSTALL_CUDA}, or use --device cpu"
        ) from error
    if session.get_providers()[0] != name:
        raise RuntimeMissingError(
            f"{name} was asked for, but the session runs on {session.get_providers()[0]}: its "
            f"libraries did not load; {_INSTALL_CUDA}, or use --device cpu"
        )
    distribution = (_installed() or ["onnxruntime"])[0]
    return Execution(
        session, distribution, runtime.__version__, name, label, settings.intra_op_num_threads
    )


def _resolve(
    device: str, provider: str | None, built: list[str]
) -> tuple[str, dict[str, str], str]:
    """Provider, its options, and the name of the device."""
    if provider is not None:
        if device != "auto":
            raise OptionError("give either a device or a provider, not both")
        if provider not in built:
            raise RuntimeMissingError(
                f"provider {provider!r} is not in the installed ONNX Runtime: it has "
                f"{', '.join(built)}"
            )
        return provider, {}, {_CPU: "cpu", _CUDA: "cuda:0"}.get(provider, provider)
    if device == "auto":
        device = "cuda" if _CUDA in built else "cpu"
    if device == "cpu":
        return _CPU, {}, "cpu"
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal() or device.endswith(":"):
        raise OptionError(f"unknown device {device!r}: use auto, cpu, cuda or cuda:1")
    if _CUDA not in built:
        raise RuntimeMissingError(
            f"CUDA was asked for, but the installed ONNX Runtime was built without it: "
            f"`pip uninstall -y onnxruntime`, then {_INSTALL_CUDA}, or use --device cpu"
        )
    # TF32 is the default from Ampere on; what is called float32 here is float32.
    return _CUDA, {"device_id": index or "0", "use_tf32": "0"}, f"cuda:{index or '0'}"


def _short(error: Exception) -> str:
    """The first sentence or so of the runtime's message, on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 240 else text[:240] + "..."

"""ONNX Runtime: finding the installed build, and opening sessions on the requested device."""

from __future__ import annotations

import importlib
import io
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, TypedDict

from iaside_onnx.errors import (
    EvaluationError,
    ModelError,
    OptionError,
    OutOfMemoryError,
    RuntimeMissingError,
    install_extra,
)
from iaside_onnx.runtime.messages import advice_on, reason_of
from iaside_onnx.runtime.source import ModelSource

__all__ = [
    "Execution",
    "SessionWords",
    "available_providers",
    "import_runtime",
    "open_session",
    "runtime_errors",
    "usable_cores",
]

# From 1.29 on, official builds of ONNX Runtime send telemetry to Microsoft, with hashes of models,
# and keep files for it in the user's cache. The variable is read once, when the library is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
# These distributions share one Python module, so only one may be installed.
_BUILDS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
# Out-of-memory messages of the runtime, its allocator, cuDNN and cuBLAS.
_NO_MEMORY = re.compile(
    r"out of memory|failed to allocate memory|bad_?alloc|bad allocation|ALLOC(ATION)?_FAILED"
    r"|is smaller than requested bytes|failed to find a free memory block",
    re.IGNORECASE,
)
_SPIN_MICROSECONDS = 200
"""How long idle threads of the runtime spin: longer than the gap between two operators, and short
enough to free the cores for the work between two runs. The default is about 26 ms. The runtime has
this setting from 1.26 on."""
_STDOUT = threading.Lock()
_INSTALL_CPU = install_extra("cpu")
_INSTALL_CUDA = install_extra("cuda")


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
        provider_options: the options that were passed to the provider.
    """

    session: Any
    runtime: str
    runtime_version: str
    provider: str
    device: str
    threads: int
    provider_options: Mapping[str, str] = field(default_factory=dict)


class SessionWords(TypedDict, total=False):
    """Keyword arguments of `open_session`."""

    provider_options: Mapping[str, str] | None
    tf32: bool
    cuda_graph: bool
    allow_cpu_nodes: bool


def _installed() -> dict[str, Path]:
    """The folder of each installed build."""
    found = {}
    for name in _BUILDS:
        try:
            found[name] = Path(str(metadata.distribution(name).locate_file("")))
        except metadata.PackageNotFoundError:
            continue
    return found


def _distribution(runtime: ModuleType) -> str:
    """Name of the build that was imported; others may be later in the module search path."""
    installed = _installed()
    folder = Path(getattr(runtime, "__file__", None) or "onnxruntime/__init__.py").parent.parent
    return next((n for n, f in installed.items() if f == folder), next(iter(installed), _BUILDS[0]))


def import_runtime() -> ModuleType:
    """Import ``onnxruntime``.

    Raises:
        RuntimeMissingError: if no build is installed, or two are in one folder: they share one
            module, so the later installation has overwritten the other.
    """
    found = _installed()
    installed = [n for n, folder in found.items() if list(found.values()).count(folder) > 1]
    if installed:
        raise RuntimeMissingError(
            f"both {' and '.join(installed)} are installed, and each overwrites the other: "
            f"run `pip uninstall -y {' '.join(installed)}`, then "
            f"{_INSTALL_CPU} or {_INSTALL_CUDA}"
        )
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        detail = f" ({error})" if found else ""
        raise RuntimeMissingError(
            f"ONNX Runtime is not installed{detail}: {_INSTALL_CPU} for the CPU, or "
            f"{_INSTALL_CUDA} for an NVIDIA GPU"
        ) from error


def available_providers() -> list[str]:
    """Execution providers that the installed runtime was built with."""
    return list(import_runtime().get_available_providers())


def usable_cores() -> int:
    """Number of cores that this process may use; the runtime's default ignores the affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _captured_stdout() -> Iterator[io.StringIO]:
    """What is printed within, in place of stdout; one thread after the other.

    The stream belongs to the process: threads that replace it side by side restore each other's.
    """
    with _STDOUT, redirect_stdout(io.StringIO()) as captured:
        yield captured


@contextmanager
def runtime_errors(where: str) -> Iterator[None]:
    """Convert exceptions of a run of ONNX Runtime into this project's errors.

    Raises:
        OutOfMemoryError: if the message says that memory ran out.
        EvaluationError: otherwise.
    """
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError(f"memory ran out {where}") from error
    except Exception as error:  # the runtime's exceptions have no common base
        text = _reason(error)
        if _NO_MEMORY.search(str(error)):
            raise OutOfMemoryError(f"memory ran out {where}: {text}") from error
        raise EvaluationError(f"ONNX Runtime failed {where}: {text}") from error


def open_session(
    path: Path,
    device: str = "auto",
    provider: str | None = None,
    threads: int | None = None,
    *,
    provider_options: Mapping[str, str] | None = None,
    tf32: bool = False,
    cuda_graph: bool = False,
    allow_cpu_nodes: bool = False,
    source: ModelSource | None = None,
) -> Execution:
    """Load a model on the requested device, without any fallback to another.

    Args:
        path: the ONNX file.
        device: ``cpu``, ``cuda``, ``cuda:i``, or ``auto``: CUDA where the runtime has it, else CPU.
        provider: an execution provider by name, instead of a device.
        threads: threads for one operator on the CPU; by default all cores of the process.
        provider_options: the provider's own options, which override those made here.
        tf32: let CUDA round float32 to 10 bits in matrix products and convolutions.
        cuda_graph: let CUDA record the model once and replay it.
        allow_cpu_nodes: let the CPU run operators that the provider does not have.
        source: what the runtime is given of the file; by default its path.

    Raises:
        OptionError: if the device is unknown, both a device and a provider are given, or ``tf32``
            or ``cuda_graph`` is given without CUDA.
        RuntimeMissingError: if the runtime or the provider is missing or does not start, or the
            provider leaves operators to the CPU without ``allow_cpu_nodes``.
        ModelError: if the runtime refuses the model.
    """
    source = source or ModelSource(str(path))
    runtime = import_runtime()
    name, options, label = _resolve(device, provider, list(runtime.get_available_providers()))
    if (tf32 or cuda_graph) and name != _CUDA:
        raise OptionError(
            f"TF32 and CUDA graphs need an NVIDIA GPU, not {label}: use `device='cuda'`"
        )
    if cuda_graph and provider is not None:
        raise OptionError(
            "a CUDA graph needs buffers on the GPU: use `device='cuda'`, not `provider=`"
        )
    for key, instead in (
        ("device_id", "`device='cuda:i'`"),
        ("enable_cuda_graph", "`cuda_graph=True`"),
    ):
        if name == _CUDA and key in (provider_options or {}) and provider is None:
            raise OptionError(f"the provider option {key} is set by {instead}: use that")
    if "enable_cuda_graph" in (provider_options or {}):
        raise OptionError(
            "a CUDA graph is requested by `device='cuda'` `cuda_graph=True`, not by a provider "
            "option"
        )
    if tf32:
        options["use_tf32"] = "1"
    if cuda_graph:
        options["enable_cuda_graph"] = "1"
    options |= provider_options or {}
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads or usable_cores()
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    if name == _CPU:
        spin = str(_SPIN_MICROSECONDS)
        settings.add_session_config_entry("session.intra_op.spin_duration_us", spin)
    missing = _preload(runtime) if name == _CUDA else ""
    if name != _CPU and not allow_cpu_nodes:
        # Without this, nodes of a provider that does not start or lacks them run on the CPU.
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = _create(runtime, source, settings, name, options)
    except Exception as error:  # the runtime's exceptions have no common base
        if name == _CPU:
            raise ModelError(f"{path}: ONNX Runtime refuses the model: {_reason(error)}") from error
        left = _left_to_cpu(runtime, path, name, options, source)
        why = missing or reason_of(error)
        raise RuntimeMissingError(
            left or f"{name} cannot run {path.name}: {why}; {_advice(name)}"
        ) from error
    if session.get_providers()[0] != name:
        raise RuntimeMissingError(
            f"{name} was asked for, but the session runs on {session.get_providers()[0]}: its "
            f"libraries did not load{_in_brackets(missing)}; {_advice(name)}"
        )
    return Execution(
        session, _distribution(runtime), runtime.__version__, name, label,
        settings.intra_op_num_threads, options,
    )  # fmt: skip


def _create(
    runtime: ModuleType,
    source: ModelSource,
    settings: Any,
    name: str,
    options: Mapping[str, str],
) -> Any:
    """A session without fallback: by default it prints an error and falls back to the CPU."""
    with _captured_stdout(), source.attached(settings):
        session = runtime.InferenceSession(
            source.model, sess_options=settings, providers=[(name, dict(options))]
        )
    if hasattr(session, "disable_fallback"):
        session.disable_fallback()
    return session


def _resolve(
    device: str, provider: str | None, built: list[str]
) -> tuple[str, dict[str, str], str]:
    """Name of the provider, its options, and the name of the device."""
    if provider is not None:
        if device != "auto":
            raise OptionError("give either a device or a provider, not both")
        if provider not in built:
            raise RuntimeMissingError(
                f"provider {provider!r} is not in the installed ONNX Runtime: it has "
                f"{', '.join(built)}"
            )
        # TF32 is the default from Ampere on; float32 models must compute in float32.
        exact = {"use_tf32": "0"} if provider == _CUDA else {}
        return provider, exact, {_CPU: "cpu", _CUDA: "cuda"}.get(provider, provider)
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
            f"`pip uninstall -y onnxruntime`, then {_INSTALL_CUDA}, or use `device='cpu'`"
        )
    return _CUDA, {"device_id": index or "0", "use_tf32": "0"}, f"cuda:{index or '0'}"


def _preload(runtime: ModuleType) -> str:
    """Load the CUDA libraries that pip installed; return which did not load, as a message."""
    if hasattr(runtime, "set_default_logger_severity"):
        # The runtime's log would repeat on the terminal what the error says.
        runtime.set_default_logger_severity(4)
    if not hasattr(runtime, "preload_dlls"):
        return ""
    with _captured_stdout() as said:
        runtime.preload_dlls()
    failed = re.findall(r"Failed to load (\S+?):", said.getvalue())
    return f"{', '.join(failed)} did not load" if failed else ""


def _left_to_cpu(
    runtime: ModuleType,
    path: Path,
    name: str,
    options: dict[str, str],
    source: ModelSource,
) -> str:
    """The message if the provider starts and only lacks some operators, else an empty string.

    A provider that did not start raises the same exception as one that lacks operators.
    """
    settings = runtime.SessionOptions()
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    settings.log_severity_level = 4
    try:
        session = _create(runtime, source, settings, name, options)
        if session.get_providers()[0] != name:
            return ""
        kinds = Counter(
            node.op_type
            for part in session.get_provider_graph_assignment_info()
            if part.ep_name == _CPU
            for node in part.get_nodes()
        )
    except Exception:  # noqa: BLE001  # the first error is the one that is reported
        return ""
    if not kinds:
        return ""
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
    return (
        f"{name} leaves {kinds.total()} operators of {path.name} to the CPU ({listed}): add "
        "`allow_cpu_nodes=True`, or export the model without them"
    )


def _advice(name: str) -> str:
    if name == _CUDA:
        return f"check the driver and {_INSTALL_CUDA}, or use `device='cpu'`"
    return "check its installation and `provider_options=`, or use `device='cpu'`"


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _reason(error: Exception) -> str:
    """The reason in the runtime's message, and what to do about it."""
    reason = reason_of(error)
    advice = advice_on(reason)
    return f"{reason}; {advice}" if advice else reason

"""Options of providers, operators that they lack, missing libraries and GPUs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from iaside_onnx.errors import (
    EvaluationError,
    OptionError,
    OutOfMemoryError,
    RuntimeMissingError,
)
from iaside_onnx.runtime import load_classifier, open_session, read_graph, session
from iaside_onnx.runtime.memory import CudaMemory, HostMemory
from iaside_onnx.runtime.session import runtime_errors
from tests.support.onnx_models import Net

CPU, CUDA, OTHER = "CPUExecutionProvider", "CUDAExecutionProvider", "OtherExecutionProvider"
NO_FALLBACK = "session.disable_cpu_ep_fallback"
RECORD = "session.record_ep_graph_assignment_info"
REFUSED = "nodes are assigned to the default CPU EP, but fallback has been disabled"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Net().save(tmp_path / "net.onnx")


class Settings(SimpleNamespace):
    """Options of one session, as the runtime takes them."""

    def __init__(self) -> None:
        super().__init__(entries={})

    def add_session_config_entry(self, key: str, value: str) -> None:
        assert key not in self.entries
        self.entries[key] = value


class Session:
    """A session with the inputs and outputs of a real one, on the provider that it reports."""

    def __init__(self, real: Any, provider: str, on_cpu: Sequence[str], *, recorded: bool) -> None:
        self.get_inputs, self.get_outputs = real.get_inputs, real.get_outputs
        self._provider, self._on_cpu, self._recorded = provider, on_cpu, recorded

        self.falls_back = True

    def disable_fallback(self) -> None:
        self.falls_back = False

    def get_providers(self) -> list[str]:
        return [self._provider, *([CPU] if self._provider != CPU else [])]

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        assert self._recorded
        kinds = [(self._provider, ["Conv", "Gemm"]), *((CPU, [kind]) for kind in self._on_cpu)]
        return [part(provider, names) for provider, names in kinds]


def part(provider: str, kinds: list[str]) -> SimpleNamespace:
    """Some operators of a graph and the provider that has them."""
    nodes = [SimpleNamespace(op_type=kind) for kind in kinds]
    return SimpleNamespace(ep_name=provider, get_nodes=lambda: nodes)


class Runtime:
    """An ONNX Runtime with providers that this machine need not have.

    Attributes:
        on_cpu: kinds of operators that no provider but the CPU's has.
        missing: libraries that do not load, so that CUDA does not start.
        failures: what making the first sessions raises, one after the other.
        asked: provider and options of each session.
        made: entries of each session.
    """

    __version__ = "9.9"

    def __init__(self, real: Any) -> None:
        self._real = real
        self.on_cpu: list[str] = []
        self.missing: list[str] = []
        self.failures: list[Exception] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.made: list[dict[str, str]] = []

    SessionOptions = Settings

    def get_available_providers(self) -> list[str]:
        return [CUDA, OTHER, CPU]

    def preload_dlls(self) -> None:
        for name in self.missing:
            print(f"Failed to load {name}: {name}: cannot open shared object file")  # noqa: T201

    def InferenceSession(  # noqa: N802  # the runtime's name
        self, path: str, sess_options: Settings, providers: list[tuple[str, dict[str, str]]]
    ) -> Session:
        assert Path(path).name == "net.onnx"
        ((name, options),) = providers
        self.asked.append((name, dict(options)))
        self.made.append(sess_options.entries)
        strict = sess_options.entries.get(NO_FALLBACK) == "1"
        if self.failures:
            print("*** EP Error *** falling back")  # noqa: T201
            raise self.failures.pop(0)
        if strict and (self.on_cpu or self.missing):
            raise RuntimeError(REFUSED)
        recorded = sess_options.entries.get(RECORD) == "1"
        return Session(self._real, CPU if self.missing else name, self.on_cpu, recorded=recorded)


@pytest.fixture
def runtime(model: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """The fake runtime, in place of the real one."""
    found = Runtime(open_session(model, "cpu").session)
    monkeypatch.setattr(session, "import_runtime", lambda: found)
    return found


DEFAULTS = {"device_id": "0", "use_tf32": "0"}


@pytest.mark.parametrize(
    ("words", "added"),
    [
        ({"tf32": True}, {"use_tf32": "1"}),
        ({"cuda_graph": True}, {"enable_cuda_graph": "1"}),
        ({"provider_options": {"gpu_mem_limit": "9"}}, {"gpu_mem_limit": "9"}),
        ({"provider_options": {"use_tf32": "1"}}, {"use_tf32": "1"}),
        ({"provider_options": {"use_tf32": "0"}, "tf32": True}, {"use_tf32": "0"}),
    ],
    ids=["tf32", "graph", "new", "over a default", "over a flag"],
)
def test_options_reach_the_provider_and_are_recorded(
    words: dict[str, Any], added: dict[str, str], runtime: Runtime, model: Path
) -> None:
    """An option is accepted without effect, or the archive does not record it."""
    execution = open_session(model, "cuda", **words)
    assert runtime.asked == [(CUDA, DEFAULTS | added)]
    assert dict(execution.provider_options) == DEFAULTS | added


def test_options_of_one_session_do_not_reach_the_next(runtime: Runtime, model: Path) -> None:
    """The caller's mapping is changed, and another model runs with these options."""
    given = {"gpu_mem_limit": "9"}
    open_session(model, "cuda", provider_options=given, tf32=True)
    open_session(model, "cuda")
    assert given == {"gpu_mem_limit": "9"}
    assert runtime.asked[1] == (CUDA, DEFAULTS)


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"device": "cuda", "provider_options": {"device_id": "1"}}, "`device='cuda:i'`"),
        ({"device": "cuda", "provider_options": {"enable_cuda_graph": "1"}}, "`cuda_graph=True`"),
        ({"provider": CUDA, "provider_options": {"enable_cuda_graph": "1"}}, "`cuda_graph=True`"),
        ({"provider": CUDA, "cuda_graph": True}, "`device='cuda'`, not `provider=`"),
    ],
    ids=["device", "graph", "graph of a provider", "graph through the host"],
)
def test_what_the_arrays_must_agree_with_is_no_option_of_the_provider(
    words: dict[str, Any], said: str, model: Path
) -> None:
    """The model on one GPU and its images on another, or a graph of arrays that have moved."""
    with pytest.raises(OptionError) as caught:
        open_session(model, **words)
    assert said in str(caught.value)


@pytest.mark.parametrize(("name", "exact"), [(CUDA, {"use_tf32": "0"}), (OTHER, {})])
def test_a_provider_by_name_is_given_its_own_options(
    name: str, exact: dict[str, str], runtime: Runtime, model: Path
) -> None:
    """Float32 is computed with 10 bits, or a provider gets options that it does not have."""
    open_session(model, provider=name, provider_options={"key": "value"})
    assert runtime.asked == [(name, {**exact, "key": "value"})]


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("where", [{"device": "cpu"}, {"provider": CPU}, {"provider": OTHER}])
@pytest.mark.parametrize("flag", ["tf32", "cuda_graph"])
def test_what_only_cuda_has_is_refused_elsewhere(
    flag: str, where: dict[str, str], model: Path
) -> None:
    """The option for speed has no effect, and the user is not told."""
    words: dict[str, Any] = {**where, flag: True}
    with pytest.raises(OptionError, match=r"TF32 and CUDA graphs need an NVIDIA GPU.*`device="):
        open_session(model, **words)


@pytest.mark.parametrize("name", [CUDA, OTHER])
def test_operators_left_to_the_cpu_are_counted_and_named(
    name: str, runtime: Runtime, model: Path
) -> None:
    """The GPU waits for the CPU at every second operator, and the user is not told."""
    runtime.on_cpu = ["NonZero", "Loop", "NonZero"]
    with pytest.raises(RuntimeMissingError) as caught:
        open_session(model, provider=name)
    said = str(caught.value)
    assert said.startswith(f"{name} leaves 3 operators of net.onnx to the CPU (2 NonZero, 1 Loop)")
    assert "`allow_cpu_nodes=True`" in said
    assert "libraries" not in said


def test_many_kinds_of_operators_are_cut_short(runtime: Runtime, model: Path) -> None:
    """The message would fill the terminal."""
    runtime.on_cpu = [f"Kind{i % 9}" for i in range(30)]
    with pytest.raises(RuntimeMissingError, match=r"leaves 30 .*Kind3\): add `allow_cpu") as caught:
        open_session(model, "cuda")
    assert "Kind4" not in str(caught.value)


def test_operators_may_be_left_to_the_cpu_where_the_user_says_so(
    runtime: Runtime, model: Path
) -> None:
    """The advice that the error gives does not help."""
    runtime.on_cpu = ["NonZero"]
    execution = open_session(model, "cuda", allow_cpu_nodes=True)
    assert execution.provider == CUDA
    assert runtime.made == [{}]


def test_a_provider_that_fails_twice_is_told_by_its_first_words(
    runtime: Runtime, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is lost in an error about operators, or printed to stdout."""
    runtime.failures = [RuntimeError("no driver"), RuntimeError("still no driver")]
    with pytest.raises(RuntimeMissingError, match=r"^OtherExecution.* net\.onnx: no driver; check"):
        open_session(model, provider=OTHER)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.usefixtures("runtime")
def test_a_session_never_falls_back_while_it_runs(allowed: bool, model: Path) -> None:
    """The runtime's own class falls back to a new session on the CPU when a run fails."""
    execution = open_session(model, "cuda", allow_cpu_nodes=allowed)
    assert not execution.session.falls_back


def test_a_failure_that_is_not_of_operators_is_told(runtime: Runtime, model: Path) -> None:
    """`leaves 0 operators of net.onnx to the CPU ()`, and the reason is lost."""
    runtime.failures = [RuntimeError("the device is busy")]
    with pytest.raises(RuntimeMissingError, match=r"cannot run net\.onnx: the device is busy"):
        open_session(model, "cuda")


@pytest.mark.parametrize("allowed", [False, True])
def test_libraries_that_do_not_load_are_named_and_not_printed(
    allowed: bool, runtime: Runtime, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runtime's messages come before JSON on stdout, and the error does not say what to do."""
    runtime.missing = ["libcublasLt.so.13", "libcudnn.so.9"]
    with pytest.raises(RuntimeMissingError, match=r"iaside-onnx\[cuda\]") as caught:
        open_session(model, "cuda", allow_cpu_nodes=allowed)
    assert "libcublasLt.so.13, libcudnn.so.9 did not load" in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_without_cupy_the_gpu_is_refused_with_advice(
    runtime: Runtime, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback of an import, after the model was loaded."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeMissingError, match=r"needs CuPy.*pip install 'iaside-onnx\[cuda\]'"):
        load_classifier(read_graph(model), device="cuda")
    assert runtime.asked


@pytest.mark.parametrize("name", [CUDA, OTHER, CPU])
def test_a_provider_by_name_goes_through_the_hosts_memory(
    name: str, runtime: Runtime, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every provider of the runtime would need a memory of its own."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    classifier = load_classifier(read_graph(model), provider=name)
    assert isinstance(classifier.memory, HostMemory)
    assert classifier.memory.xp is np
    assert runtime.asked[0][0] == name


class DriverError(Exception):
    """CuPy's error for a missing or failing driver."""


def fake_cupy(monkeypatch: pytest.MonkeyPatch, devices: Callable[[], int]) -> list[int]:
    """Install the part of CuPy that selects a GPU; return the list of those selected."""
    used: list[int] = []
    driver = SimpleNamespace(getDeviceCount=devices, CUDARuntimeError=DriverError)

    def device(index: int) -> SimpleNamespace:
        return SimpleNamespace(use=lambda: used.append(index))

    cuda = SimpleNamespace(runtime=driver, Device=device)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    for name in ("cupyx.scipy.fft", "cupy.cuda.cufft"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    return used


@pytest.mark.usefixtures("runtime")
def test_the_gpu_that_was_asked_for_is_made_the_current_one(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays on one GPU and the model on another: wrong numbers or a crash."""
    used = fake_cupy(monkeypatch, lambda: 2)
    memory = load_classifier(read_graph(model), device="cuda:1").memory
    assert isinstance(memory, CudaMemory)
    assert (memory.device, used) == (("cuda", 1), [1])


def test_a_gpu_beyond_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's own message is only `invalid device ordinal`."""
    used = fake_cupy(monkeypatch, lambda: 2)
    with pytest.raises(RuntimeMissingError, match="no GPU cuda:2: CuPy finds 2, from cuda:0"):
        CudaMemory(2)
    assert used == []


def test_no_driver_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback of CuPy's on every machine where the driver is older than the libraries."""

    def count() -> int:
        raise DriverError("cudaErrorInsufficientDriver")

    fake_cupy(monkeypatch, count)
    with pytest.raises(RuntimeMissingError, match=r"InsufficientDriver.*`device='cpu'`"):
        CudaMemory(0)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("bfc_arena.cc: Failed to allocate memory for requested buffer of size 99"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("bad allocation"),
        RuntimeError("CUDA failure 2: out of memory ; GPU=0"),
        RuntimeError("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0"),
        RuntimeError("x" * 999 + " Out Of Memory"),
        RuntimeError("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0"),
        RuntimeError("Available memory of 9 is smaller than requested bytes of 99"),
        RuntimeError("Failed to find a free memory block despite calling Extend"),
    ],
    ids=[
        "python", "arena", "c++", "windows", "cuda", "cublas", "at the end", "cudnn", "limit",
        "block",
    ],
)  # fmt: skip
def test_every_way_to_say_that_memory_ran_out_is_understood(error: Exception) -> None:
    """The run ends where a smaller batch would have gone on."""
    with pytest.raises(OutOfMemoryError, match=r"^memory ran out on a batch of 7") as caught:
        raise_inside(error)
    assert caught.value.__cause__ is error
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("words", ["Got invalid dimensions", "memory access at 0x0", "alloc"])
def test_every_other_failure_is_one_of_the_evaluation(words: str) -> None:
    """Batches are halved down to one for an error that is not about memory."""
    with pytest.raises(EvaluationError, match="^ONNX Runtime failed on a batch of 7: .*" + words):
        raise_inside(RuntimeError(f"first\n  {words}"))


def test_an_interruption_is_no_failure() -> None:
    """Ctrl-C inside the runtime is archived as an image that cannot be evaluated."""
    with pytest.raises(KeyboardInterrupt):
        raise_inside(KeyboardInterrupt())


def raise_inside(error: BaseException) -> None:
    """Raise as the runtime would."""
    with runtime_errors("on a batch of 7"):
        raise error

"""Sessions run on the requested device and the available cores, or raise an error."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iaside_onnx.errors import ModelError, OptionError, RuntimeMissingError
from iaside_onnx.runtime import import_runtime, open_session, session, usable_cores
from tests.support.onnx_models import Net

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Net().save(tmp_path / "net.onnx")


def test_one_operator_gets_every_usable_core_and_no_two_run_at_once(model: Path) -> None:
    """The runtime's default includes cores that the process may not use."""
    execution = open_session(model, "cpu")
    options = execution.session.get_session_options()
    assert options.intra_op_num_threads == usable_cores()
    assert options.inter_op_num_threads == 1
    assert execution.threads == usable_cores()
    assert (execution.provider, execution.device) == (CPU, "cpu")
    assert execution.runtime in ("onnxruntime", "onnxruntime-gpu")
    assert execution.runtime_version == import_runtime().__version__
    assert open_session(model, "cpu", threads=1).threads == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system holds no process")
def test_a_process_held_to_one_core_takes_one_thread(model: Path) -> None:
    """Threads without cores spin, and a batch scheduler kills the job."""
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from pathlib import Path; from iaside_onnx.runtime import open_session\n"
        f"print(open_session(Path({str(model)!r}), 'cpu').session"
        ".get_session_options().intra_op_num_threads)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "", "CPU"])
def test_an_unknown_device_is_refused(device: str, model: Path) -> None:
    with pytest.raises(OptionError, match="auto, cpu, cuda or cuda:1"):
        open_session(model, device)


def test_a_provider_is_taken_by_name_or_refused_by_name(model: Path) -> None:
    assert open_session(model, provider=CPU).device == "cpu"
    with pytest.raises(RuntimeMissingError, match=f"'NoSuchProvider'.*it has.*{CPU}"):
        open_session(model, provider="NoSuchProvider")
    with pytest.raises(OptionError, match="not both"):
        open_session(model, "cpu", provider=CPU)


def test_a_model_that_the_runtime_refuses_is_an_error_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x08\x12\x00")
    with pytest.raises(ModelError, match=r"net\.onnx: ONNX Runtime refuses"):
        open_session(path, "cpu")


class FakeRuntime:
    """A fake ONNX Runtime with CUDA, for a machine without it."""

    __version__ = "9.9"

    def __init__(self, built: list[str], starts: list[str] | Exception) -> None:
        self.built, self.starts = built, starts
        self.asked: list[Any] = []
        self.entries: dict[str, str] = {}
        self.preloaded = False

    def get_available_providers(self) -> list[str]:
        return self.built

    def preload_dlls(self) -> None:
        self.preloaded = True

    def SessionOptions(self) -> Any:  # noqa: N802  # the runtime's name
        return SimpleNamespace(add_session_config_entry=self.entries.__setitem__)

    def InferenceSession(self, path: str, sess_options: Any, providers: list[Any]) -> Any:  # noqa: N802
        assert Path(path).name == "net.onnx"
        assert sess_options.intra_op_num_threads >= 1
        self.asked = providers
        if isinstance(self.starts, Exception):
            raise self.starts
        starts = self.starts
        return SimpleNamespace(get_providers=lambda: starts)


def fake(monkeypatch: pytest.MonkeyPatch, built: list[str], starts: Any) -> FakeRuntime:
    runtime = FakeRuntime(built, starts)
    monkeypatch.setattr(session, "import_runtime", lambda: runtime)
    return runtime


@pytest.mark.parametrize(
    ("device", "index"), [("auto", "0"), ("cuda", "0"), ("cuda:1", "1"), ("cuda:12", "12")]
)
def test_cuda_runs_in_float32_with_its_libraries_loaded(
    device: str, index: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TF32 keeps 10 bits; cuDNN from pip is not found unless loaded first."""
    runtime = fake(monkeypatch, [CUDA, CPU], [CUDA, CPU])
    execution = open_session(model, device)
    assert runtime.preloaded
    assert runtime.asked == [(CUDA, {"device_id": index, "use_tf32": "0"})]
    assert runtime.entries == {"session.disable_cpu_ep_fallback": "1"}
    assert (execution.provider, execution.device) == (CUDA, f"cuda:{index}")


def test_cuda_is_not_touched_when_the_cpu_is_asked_for(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = fake(monkeypatch, [CUDA, CPU], [CPU])
    assert open_session(model, "cpu").device == "cpu"
    assert not runtime.preloaded
    assert runtime.asked == [(CPU, {})]


@pytest.mark.parametrize(
    ("built", "starts", "words"),
    [
        ([CPU], [CPU], "built without it: .*pip uninstall.*`device='cpu'`"),
        ([CUDA, CPU], [CPU], "was asked for, but the session runs on CPU.*`device='cpu'`"),
        ([CUDA, CPU], RuntimeError("no\n driver"), "cannot run net.onnx: no driver; .*`device="),
    ],
    ids=["not built", "fell back", "raised"],
)
def test_nothing_falls_back_in_silence(
    built: list[str], starts: Any, words: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A benchmark of the GPU would be one of the CPU."""
    fake(monkeypatch, built, starts)
    with pytest.raises(RuntimeMissingError, match=words):
        open_session(model, "cuda")


def test_no_runtime_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeMissingError) as caught:
        import_runtime()
    message = str(caught.value)
    assert message.startswith("ONNX Runtime is not installed: pip install 'iaside-onnx[cpu]'")
    assert "'iaside-onnx[cuda]'" in message


def test_both_runtimes_are_one_clear_error(tmp_path: Path, model: Path) -> None:
    """They overwrite each other's files: the result is a mix of both builds."""
    for name in ("onnxruntime", "onnxruntime_gpu"):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    done = subprocess.run(
        [sys.executable, "-m", "iaside_onnx", "inspect", str(model)],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "both onnxruntime and onnxruntime-gpu are installed" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr

"""Shared state of the sections of `check`: files, record, time limit."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iaside_onnx.errors import IasideError
from iaside_onnx.runtime.memory import CudaMemory, HostMemory, Memory
from tools.gpu.networks import FULL, REDUCED, Resnet
from tools.shared.files import write_json
from tools.shared.paths import ROOT

TOLERANCE = 1e-3
"""Largest difference between two devices, in nats."""


class Lines:
    """A listener that collects the messages of a run, and can interrupt it.

    Attributes:
        said: decisions and warnings, in order.
    """

    def __init__(self, stop_after: int | None = None) -> None:
        """Start without messages; the run is interrupted after ``stop_after`` images."""
        self.said: list[str] = []
        self._left = stop_after

    def say(self, line: str) -> None:
        """Collect the message."""
        self.said.append(line)

    def warn(self, line: str) -> None:
        """Collect the message."""
        self.said.append(line)

    def begin(self, images: int, finished: int, evaluations: int) -> None:
        """Ignore it."""

    def advance(self, images: int) -> None:
        """Interrupt the run, as Ctrl-C does, when enough images are finished."""
        if self._left is not None:
            self._left -= images
            if self._left <= 0:
                raise KeyboardInterrupt

    def end(self) -> None:
        """Ignore it."""


class Context:
    """One run of the checks.

    Attributes:
        gpu: whether a GPU is used; without one everything runs on the CPU.
        device: as `iaside_onnx.Options` names it.
        quick: smaller sizes.
        folder: for temporary files.
        shape: of the ResNet.
    """

    def __init__(
        self, device: str, folder: Path, output: Path, *, quick: bool, seconds: float
    ) -> None:
        self.gpu = device != "cpu"
        self.device = device
        self.quick = quick
        self.folder = folder
        self.shape: Resnet = FULL if self.gpu and not quick else REDUCED
        self._output = output
        self._end = time.monotonic() + seconds
        self._count = 0
        self.record: dict[str, Any] = {}

    def model(self, name: str) -> Path:
        """Path of a model that is made for this run."""
        return self.folder / f"{name}.onnx"

    def images(self, name: str = "large") -> Path:
        """Path of images that are made for this run."""
        return self.folder / f"{name}.npz"

    def archive(self) -> Path:
        """A new path for an archive."""
        self._count += 1
        return self.folder / f"archive-{self._count}.h5"

    @property
    def late(self) -> bool:
        """Whether the time limit has passed."""
        return time.monotonic() > self._end

    def memory(self) -> Memory:
        """The memory of the device, with its array module."""
        _, _, index = self.device.partition(":")
        return CudaMemory(int(index or 0)) if self.gpu else HostMemory()

    def tell(self, line: str) -> None:
        """Print a line at once."""
        print(line, flush=True)

    def keep(self) -> None:
        """Write the record as it is so far."""
        write_json(self._output, self.record)

    def plain(self, error: BaseException) -> str:
        """The message of an error, without paths of this machine."""
        kind = "" if isinstance(error, IasideError) else f"{type(error).__name__}: "
        text = " ".join(f"{kind}{error}".split())
        return text.replace(str(self.folder), "TMP").replace(str(ROOT), ".")

    def attempt(self, found: dict[str, Any], name: str, check: Callable[[], Any]) -> None:
        """Record the result of a check under its name, or its error, and continue in both cases."""
        begun = time.monotonic()
        try:
            found[name] = check()
        except Exception as error:  # noqa: BLE001  # the next check may still work
            found[name] = {"error": self.plain(error)}
        gc.collect()  # frees sessions and device memory that a failed check still holds
        result = found[name] if isinstance(found[name], dict) else {}
        wrong = result.get("error") or "; ".join(result.get("failed", []))
        if wrong:
            found.setdefault("failed", []).append(f"{name}: {wrong}")
        self.keep()
        verdict = f"FAILED, {wrong}" if wrong else "ok"
        self.tell(f"  {name}: {verdict}, {time.monotonic() - begun:.1f} s {brief(found[name])}")


def brief(value: Any) -> str:
    """The numbers and text of a result, on one line."""
    if not isinstance(value, dict):
        return str(value)
    kept = [
        f"{key} {entry:.4g}" if isinstance(entry, float) else f"{key} {entry}"
        for key, entry in value.items()
        if isinstance(entry, str | int | float | bool) and key != "error"
    ]
    text = ", ".join(kept)
    return f"({text[:200]})" if text else ""


def expect(found: dict[str, Any], holds: bool, wanted: str) -> None:
    """Add ``wanted`` to the list under ``failed`` unless it ``holds``."""
    if not holds:
        found.setdefault("failed", []).append(wanted)

"""Memory does not grow with the number of coalitions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.command import CNN, PICTURES

# VmHWM is of this process alone; ru_maxrss begins with what its parent had when it forked.
_MEASURED = """
import re, sys
from pathlib import Path
import iaside_onnx
model, images, output, bands = sys.argv[1:]
archive = iaside_onnx.decompose(model, images, output, bands=int(bands), limit=2, batch_size=32)
assert archive["coalition"].size == 2 ** int(bands)
print("VmHWM", re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def peak(output: Path, bands: int) -> int:
    """Greatest resident size of a run over two images, in KiB."""
    words = [CNN, PICTURES, output, bands]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *map(str, words)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout.split("VmHWM")[1])


def test_peak_memory_is_that_of_a_batch(tmp_path: Path) -> None:
    """The images of all coalitions are held at once: 49 MiB of them with 14 bands."""
    few, many = (peak(tmp_path / f"{bands}.h5", bands) for bands in (8, 14))
    assert many < 1.2 * few

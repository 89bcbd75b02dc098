"""Memory does not grow with the number of images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.command import CNN, PICTURES

_MEASURED = """
import re, sys
from pathlib import Path
from iaside_onnx.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code
print("VmHWM", re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def peak(output: Path, limit: int) -> int:
    """Greatest resident size of a run over so many images, in KiB."""
    words = ["decompose", CNN, "--images", PICTURES, "-o", output, "--bands", "5"]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *map(str, words), "--limit", str(limit)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout.split("VmHWM")[1])


def test_peak_memory_is_that_of_one_image(tmp_path: Path) -> None:
    """Images, worths or results of all images are held at once."""
    few, many = (peak(tmp_path / f"{limit}.h5", limit) for limit in (256, 1000))
    assert many < 1.1 * few

"""Time and memory of comparing many large archives, made up from a real one.

The images of a real archive are repeated, under other names and hashes, and contributions get
noise of their own in each archive; worths are repeated as they are, so that digests cover as many
bytes as real ones.

    python -m tools.benchmarks.compare_many cnn.h5 --archives 20 --images 50000
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from iaside_onnx import Archive, compare, open_archive
from iaside_onnx.archive import DECOMPOSITION, Rows, Workspace, write_archive


def enlarge(archive: Archive, target: Path, images: int, seed: int) -> None:
    """Write an archive of so many images."""
    rows = np.arange(images) % archive["image"].size
    names = [name for name, one in archive.declared.items() if not one.streamed]
    values: dict[str, Any] = {
        name: archive[name][rows] if "image" in archive.declared[name].dims else archive[name]
        for name in names
    }
    values["image"] = np.arange(images)
    values["image_id"] = [str(index) for index in range(images)]
    values["image_sha256"] = [sha256(str(index).encode()).hexdigest() for index in range(images)]
    noise = np.random.default_rng(seed).standard_normal(values["phi_image"].shape)
    values["phi_image"] = values["phi_image"] + 0.1 * noise
    metadata = replace(archive.metadata, images_asked=images, images_done=images)

    def blocks() -> Iterator[Rows]:
        whole = {name: archive[name] for name in archive.names if archive.declared[name].streamed}
        for start in range(0, images, 1000):
            yield {name: value[rows[start : start + 1000]] for name, value in whole.items()}

    workspace = Workspace(target, print)
    with workspace.lock():
        write_archive(workspace, DECOMPOSITION, values, metadata, blocks())


def main() -> None:
    """Make archives, compare them, and print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--archives", type=int, default=20)
    parser.add_argument("--images", type=int, default=50_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.h5" for number in range(options.archives)]
        for number, path in enumerate(paths):
            enlarge(open_archive(options.archive), path, options.images, number)
        size = sum(path.stat().st_size for path in paths)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        found = compare(*paths)
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{len(found.pairs)} pairs of {options.images:,} images, {size / 1e6:,.0f} MB of archives: "
        f"{seconds:.1f} s, {(after - before) / 1024:,.0f} MB more than before"
    )


if __name__ == "__main__":
    main()

"""What a run keeps in memory of what it has evaluated."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np

from iaside_onnx import Options
from iaside_onnx.archive import Shard, Workspace
from iaside_onnx.runs import LogProgress
from iaside_onnx.runs.planning import find_inputs, make_plan
from iaside_onnx.runs.results import Results
from tests.support.bad_case import pixels
from tests.support.onnx_models import Net

BANDS, IMAGES = 16, 40


def made(position: int) -> Shard:
    """A shard of one image, with the worths of all coalitions."""
    values = {
        "image": np.array([position]),
        "image_id": [str(position)],
        "image_sha256": ["0" * 64],
        "label": np.zeros(1, dtype=np.int64),
        "worth": np.zeros((1, 1 << BANDS), dtype=np.float32),
        "floored": np.zeros(1, dtype=np.int64),
        "predicted": np.zeros(1, dtype=np.int64),
        "log_probability_whole": np.zeros(1, dtype=np.float32),
        "log_probability_empty": np.zeros(1, dtype=np.float32),
    }
    return Shard(values, batch_size=1)


def test_results_hold_the_worths_of_one_shard_at_a_time(tmp_path: Path) -> None:
    """All worths at once, 2**M for each image, would not fit into memory for many images."""
    model = Net(size=(1, 32, 32)).save(tmp_path / "net.onnx")
    options = Options(bands=BANDS, method="exact", labels=np.zeros(IMAGES, dtype=np.int64))
    inputs = find_inputs(model, pixels(IMAGES, 32, 32), options)
    plan = make_plan(inputs, options, LogProgress())
    workspace = Workspace(tmp_path / "out.h5")
    workspace.folder.mkdir()
    results = Results(plan, workspace)
    numbers = results.begin(list(plan.schedule.pieces(0, plan.schedule.steps)))
    assert len(numbers) == IMAGES
    for number in numbers:
        workspace.write(number, made(number))
    tracemalloc.start()
    try:
        for number in numbers[:4]:
            results.add(number)
        few = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        for number in numbers[4:]:
            results.add(number)
        small = results.small()
        many = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert small["image"].tolist() == list(range(IMAGES))
    assert "worth" not in small
    # Computing contributions takes many times the worths of an image, but only for one at a time.
    assert many < few + 4 * made(0)["worth"].nbytes

"""Two exports of one network: channels first with logits, channels last with a softmax.

tools/fixtures/make_twins.py makes them, tools/fixtures/check_twins.py compares their outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iaside_onnx import decompose, inspect_model

DATA = Path(__file__).parent / "data"
SAMPLE = Path(__file__).parents[1] / "models" / "fashion-mnist-1000.npz"
HEIGHTS = {"": 28, "-wide": 20}


@pytest.mark.parametrize("suffix", HEIGHTS)
def test_twins_get_the_same_contributions(suffix: str, tmp_path: Path) -> None:
    """Layout, or the kind of the outputs, would show in a result that is the network's alone."""
    paths = [DATA / f"twin-{framework}{suffix}.onnx" for framework in ("torch", "keras")]
    for path in paths:
        if not path.exists():
            pytest.skip(f"{path.name} is not there; tools/fixtures/make_twins.py makes it")
    found = [inspect_model(path) for path in paths]
    assert [i.signature.layout for i in found] == ["NCHW", "NHWC"]
    assert [i.output_kind for i in found] == ["logits", "probabilities"]
    with np.load(SAMPLE) as sample:
        images, labels = sample["images"], sample["labels"]
    top = (28 - HEIGHTS[suffix]) // 2
    images = images[:, top : top + HEIGHTS[suffix]]
    options: dict[str, Any] = {"labels": labels, "limit": 20, "baseline": "mean"}
    torch, keras = (decompose(p, images, tmp_path / f"{p.stem}.h5", **options) for p in paths)
    assert torch.metadata.accuracy == keras.metadata.accuracy > 0.5
    # A softmax in float32 gives 0 below e-103, and has few digits below e-87: there the twin with
    # logits knows more, so the comparison is at the floor of the other.
    floor = np.float32(np.log(np.finfo(np.float32).tiny))
    low = torch["worth"].min(axis=1) < floor + 1
    assert low.mean() < 0.5
    np.testing.assert_allclose(np.maximum(torch["worth"], floor), keras["worth"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(
        torch["phi_image"][~low], keras["phi_image"][~low], rtol=0, atol=1e-4
    )

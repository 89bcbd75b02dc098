"""`iaside export` says what it does while it does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")

from tests.support.command import in_process

pytestmark = pytest.mark.filterwarnings("ignore")


def test_steps_are_on_stderr_in_order(tmp_path: Path) -> None:
    """Importing a framework and converting take minutes, in which nothing was said."""
    path = tmp_path / "net.onnx"
    words = ["export", "sklearn", "tests.export.sklearn_models:pipeline"]
    outcome = in_process(*words, "--input-size", "1,8,8", "-o", path, "--json")
    outcome.succeeds()
    assert [line.split()[0] for line in outcome.err.splitlines()] == [
        "loading", "converting", "comparing", "writing",
    ]  # fmt: skip
    assert "tests.export.sklearn_models:pipeline" in outcome.err.splitlines()[0]
    assert "opset 18" in outcome.err.splitlines()[1]
    assert str(path) in outcome.err.replace("\n", "")
    # Progress is not part of the result.
    assert json.loads(outcome.out)["opset"] <= 18

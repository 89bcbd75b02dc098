"""`inspect` takes what the messages about a model ask for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.support.command import Outcome, in_process
from tests.support.onnx_ends import begin, save
from tests.support.onnx_models import Net


def run(*words: str) -> Outcome:
    return in_process("inspect", *words)


def flat(path: Path) -> Path:
    """A network of flat colour images, channels last, that ends in one logit."""
    net = Net(size=(3, 8, 8), layout="NHWC", classes=1)
    reshape = helper.make_node("Reshape", ["pixels", "shape"], ["image"])
    weights: dict[str, Any] = {"shape": np.array([-1, 8, 8, 3])}
    return save(begin(net.model(), [reshape], ["n", 192], weights), path)


def test_following_the_messages_ends_in_success(tmp_path: Path) -> None:
    """A message would name an option that the command does not have."""
    path = flat(tmp_path / "net.onnx")
    values = {"--input-size": "3,8,8", "--input-layout": "NHWC", "--output-kind": "logits"}
    words: list[str] = []
    for _ in values:
        done = run(str(path), *words)
        assert done.code == 1
        asked = re.search(r"--(input-size|input-layout|output-kind)", done.err)
        assert asked is not None
        words += [asked[0], values[asked[0]]]
    done = run(str(path), *words, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["layout"], found["classes"], found["output_kind"]) == ("NHWC", 2, "logits")
    assert any("class 1 of two" in note for note in found["notes"])
    assert "class 1 of two" in run(str(path), *words).out


@pytest.mark.parametrize("command", ["decompose", "inspect", "quantize"])
def test_the_commands_have_the_options(command: str) -> None:
    text = in_process(command, "--help").out
    for option in ("--input-size", "--input-layout", "--output-kind", "--output-name"):
        assert option in text


def test_wrong_layouts_are_wrong_usage(tmp_path: Path) -> None:
    done = run(str(flat(tmp_path / "net.onnx")), "--input-layout", "CHW")
    assert done.code == 2
    assert "NCHW" in done.err

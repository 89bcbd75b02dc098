"""The recipes of `docs/ci.md`: their commands run, and write what the services read."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml

from tests.support.command import MODELS, PATIENCE, PICTURES

ROOT = MODELS.parent
PAGE = (ROOT / "docs" / "ci.md").read_text("utf-8")
IMAGES = 600
# For speed.
FEW_BANDS = {"IASIDE_DECOMPOSE_BANDS": "4"}

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or shutil.which("git") is None, reason="needs bash and git"
)


def recipes() -> tuple[dict[str, Any], dict[str, Any]]:
    """The YAML of GitHub and of GitLab."""
    github, gitlab = (
        yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    )
    return github, gitlab


def github_commands() -> list[tuple[str, bool]]:
    """The scripts of the steps, and whether a step runs after a failure."""
    steps = recipes()[0]["jobs"]["compare"]["steps"]
    return [
        (step["run"], "if" in step) for step in steps if step.get("name") not in (None, "Install")
    ]


def gitlab_commands() -> list[tuple[str, bool]]:
    return [(line, False) for line in recipes()[1]["iaside"]["script"]]


def run(commands: list[tuple[str, bool]], place: Path, **variables: str) -> int:
    """Run steps as the services do, with the word ``iaside``; the first status that is not 0."""
    tools = place.parent / "tools"
    tools.mkdir(exist_ok=True)
    tool = tools / "iaside"
    tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m iaside_onnx "$@"\n')
    tool.chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    status = 0
    for script, always in commands:
        if status and not always:
            continue
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=place,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **FEW_BANDS, **variables},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert "Error" not in done.stderr, done.stderr
        status = status or done.returncode
    return status


def save(place: Path, model: str) -> None:
    """A repository with a model and images."""
    place.mkdir(exist_ok=True)
    shutil.copy(MODELS / f"{model}.onnx", place / "model.onnx")
    shutil.copy(MODELS / f"{model}.preprocess.json", place / "model.preprocess.json")
    with np.load(PICTURES) as bundled:
        images, labels = bundled["images"][:IMAGES], bundled["labels"][:IMAGES]
    np.savez(place / "images.npz", images=images, labels=labels)


def git(place: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *words], cwd=place, check=True, capture_output=True)


def checks(place: Path, good: bool) -> None:
    """What the services read."""
    root = ET.parse(place / "iaside.xml").getroot()  # noqa: S314  # our own file
    assert root.tag == "testsuites"
    assert root.get("tests") == "3"
    assert (root.get("failures") == "0") == good
    assert ("3 hold, 0 fail" in (place / "iaside.md").read_text("utf-8")) == good


@pytest.mark.parametrize(("model", "good"), [("fashion-cnn", True), ("fashion-cnn-pgd", False)])
def test_github(tmp_path: Path, model: str, good: bool) -> None:
    """The first thing that a team copies fails, or passes whatever the model is."""
    place, summary = tmp_path / "job", tmp_path / "summary.md"
    save(place, model)
    # What actions/checkout does.
    save(place / "main", "fashion-cnn")
    status = run(github_commands(), place, GITHUB_STEP_SUMMARY=str(summary))
    assert (status == 0) == good
    checks(place, good)
    # The table is in the summary of a failed job above all.
    assert "### iaside compare" in summary.read_text("utf-8")


def test_gitlab(tmp_path: Path) -> None:
    """Likewise, with the target branch fetched by git."""
    origin, place = tmp_path / "origin", tmp_path / "job"
    save(origin, "fashion-cnn")
    git(origin, "init", "-q", "-b", "trunk")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "x")
    git(tmp_path, "clone", "-q", origin.as_uri(), "job")
    save(place, "fashion-cnn-pgd")
    status = run(gitlab_commands(), place, CI_MERGE_REQUEST_TARGET_BRANCH_NAME="trunk")
    assert status == 1
    checks(place, good=False)


def test_what_is_uploaded_is_what_is_written() -> None:
    """A report that no step writes is shown as none, without an error."""
    github, gitlab = recipes()
    steps = github["jobs"]["compare"]["steps"]
    uploads = [
        step for step in steps if step.get("uses", "").startswith("actions/upload-artifact@")
    ]
    assert uploads[0]["with"]["path"].split() == ["iaside.xml", "iaside.md", "model.h5"]
    assert gitlab["iaside"]["artifacts"]["reports"]["junit"] == "iaside.xml"
    for commands in (github_commands(), gitlab_commands()):
        words = " ".join(script for script, _ in commands)
        for name in ("--junit iaside.xml", "--markdown iaside.md", "-o model.h5"):
            assert name in words

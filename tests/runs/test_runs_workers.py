"""Whole runs with worker processes: the same archives, and nothing left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import iaside_onnx
from iaside_onnx.progress import LogProgress
from tests.runs.running import (
    CNN,
    PICTURES,
    assert_same_results,
    bundled_pictures,
    is_running,
    run_command,
    run_here,
    run_script,
    start_command,
    wait_until,
    workers_of,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")

RUNS: dict[str, dict[str, Any]] = {
    "exact": {"bands": 7, "limit": 70},
    "noise": {"bands": 5, "limit": 70, "baseline": "noise", "pixel_range": "clip", "seed": 3},
    "complement": {"bands": 5, "limit": 70, "baseline": "complement", "labels": "predicted"},
    "sampled": {"bands": 6, "limit": 300, "method": "sampled", "budget": 3000},
    "to a target": {"bands": 4, "limit": 300, "method": "sampled", "target_se": 0.4},
}
# Shards of 8 images each, for a run that can be met in the middle.
LONG = ("--bands", "9", "--limit", "120", "--threads", "1", "--workers", "2")


class Killing(LogProgress):
    """Kills a worker each time that images are finished, a few times in all."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def advance(self, images: int) -> None:  # noqa: ARG002
        if self.left:
            self.left -= 1
            os.kill(workers_of(os.getpid())[0], signal.SIGKILL)


class Stopping(LogProgress):
    """Presses Ctrl-C when the first images are finished."""

    def advance(self, images: int) -> None:  # noqa: ARG002
        raise KeyboardInterrupt


@pytest.mark.parametrize("run", RUNS)
def test_a_run_with_workers_equals_one_without(run: str, tmp_path: Path) -> None:
    """A result that depends on the number of processes."""
    for workers in (1, 2):
        iaside_onnx.decompose(
            CNN, PICTURES, tmp_path / f"{workers}.h5", workers=workers, threads=1, **RUNS[run]
        )
    assert_same_results(tmp_path / "1.h5", tmp_path / "2.h5")
    one, two = (iaside_onnx.open_archive(tmp_path / f"{n}.h5") for n in (1, 2))
    assert one.recipe == two.recipe
    assert workers_of(os.getpid()) == []


def test_an_extension_with_workers_equals_one_without(tmp_path: Path) -> None:
    """The same, where shards are those of the archive that is extended."""
    words: dict[str, Any] = {"bands": 6, "limit": 100, "method": "sampled", "threads": 1}
    for workers in (1, 2):
        path = tmp_path / f"{workers}.h5"
        iaside_onnx.decompose(CNN, PICTURES, path, budget=500, **words)
        iaside_onnx.extend(path, budget=2000, workers=workers)
    assert_same_results(tmp_path / "1.h5", tmp_path / "2.h5")


@pytest.mark.parametrize("batch_size", [pytest.param(16, marks=pytest.mark.slow), "auto"])
def test_an_archive_of_all_cores_is_extended_by_workers(batch_size: Any, tmp_path: Path) -> None:
    """Workers share the cores, so the threads of each are others than those of the archive."""
    path = tmp_path / "a.h5"
    iaside_onnx.decompose(
        CNN, PICTURES, path, bands=6, limit=60, method="sampled", budget=300, batch_size=batch_size
    )
    before = iaside_onnx.open_archive(path)
    extended = iaside_onnx.extend(path, budget=900, workers=2)
    assert extended["pairs"].sum() > before["pairs"].sum()
    assert extended.recipe.batch_size == before.recipe.batch_size
    # Another search might find another size, with which nothing can be extended.
    kept = [note for note in extended.metadata.notes if note.startswith("batch size")]
    assert [note.endswith("as before") for note in kept] == [True] * (batch_size == "auto")
    assert iaside_onnx.verify(path).problems == []


def test_killed_workers_are_replaced(tmp_path: Path) -> None:
    """Images that are lost when the system takes a process to have its memory."""
    words = RUNS["exact"]
    iaside_onnx.decompose(CNN, PICTURES, tmp_path / "a.h5", threads=1, **words)
    progress = Killing(2)
    iaside_onnx.decompose(
        CNN, PICTURES, tmp_path / "b.h5", threads=1, workers=2, progress=progress, **words
    )
    assert progress.left == 0
    assert_same_results(tmp_path / "a.h5", tmp_path / "b.h5")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.h5", "b.h5"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (2, 3),
        pytest.param(2, 1, marks=pytest.mark.slow),
        pytest.param(1, 2, marks=pytest.mark.slow),
    ],
)
def test_a_run_is_resumed_with_other_workers(first: int, then: int, tmp_path: Path) -> None:
    """What was evaluated is thrown away, or refused, where only the number of workers differs."""
    words = RUNS["exact"]
    iaside_onnx.decompose(CNN, PICTURES, tmp_path / "a.h5", threads=1, **words)
    path = tmp_path / "b.h5"
    with pytest.raises(KeyboardInterrupt):
        iaside_onnx.decompose(
            CNN, PICTURES, path, threads=1, workers=first, progress=Stopping(), **words
        )
    assert workers_of(os.getpid()) == []
    iaside_onnx.decompose(CNN, PICTURES, path, threads=1, workers=then, **words)
    assert_same_results(tmp_path / "a.h5", path)


def test_the_profile_counts_what_workers_did(tmp_path: Path) -> None:
    """A profile in which nobody has evaluated anything."""
    found = iaside_onnx.decompose(
        CNN, PICTURES, tmp_path / "a.h5", workers=2, profile=tmp_path / "p.json", **RUNS["exact"]
    )
    profile = found.metadata.profile
    assert profile is not None
    assert profile["images"] == 70
    assert profile["seconds"]["model"] > 0


def test_the_command_line_takes_workers(tmp_path: Path) -> None:
    """An option that does nothing, or that only one of two commands has."""
    words = ("--bands", "6", "--limit", "60", "--method", "sampled", "--threads", "1")
    for name, more in (("a", ()), ("b", ("--workers", "2"))):
        found = run_here(
            "decompose", CNN, "--images", PICTURES, "-o", f"{name}.h5", "--budget", "400", *words,
            *more, folder=tmp_path,
        )  # fmt: skip
        assert found.code == 0, found.err
        assert ("2 workers" in found.err) == bool(more)
        found = run_here("extend", f"{name}.h5", "--budget", "900", *more, folder=tmp_path)
        assert found.code == 0, found.err
    assert_same_results(tmp_path / "a.h5", tmp_path / "b.h5")
    for wrong in ("0", "-1", "513"):
        found = run_here("extend", "a.h5", "--budget", "9", "--workers", wrong, folder=tmp_path)
        assert found.code == 2
        assert "workers must be a whole number from 1 to 512" in found.err


def test_workers_die_with_their_driver(tmp_path: Path) -> None:
    """Processes that nobody knows of hold a model each until the machine restarts."""
    with start_command(
        "decompose", CNN, "--images", PICTURES, "-o", "a.h5", *LONG, folder=tmp_path
    ) as driver:
        wait_until(lambda: bool(list(tmp_path.glob("a.h5.work/shard-*"))))
        workers = workers_of(driver.pid)
        assert len(workers) == 2
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    wait_until(lambda: not any(map(is_running, workers)))
    assert not list(tmp_path.glob("*iaside-*")), "a recipe may hold all images"


@pytest.mark.parametrize(
    "moment", ["workers start", pytest.param("shards are made", marks=pytest.mark.slow)]
)
def test_ctrl_c_is_one_sentence_and_leaves_nobody(moment: str, tmp_path: Path) -> None:
    """A traceback from each worker, or workers that go on; what was finished must be kept."""
    words = ("decompose", CNN, "--images", PICTURES, "-o", "a.h5", *LONG)
    with start_command(*words, folder=tmp_path) as driver:
        wait_until(
            lambda: bool(
                workers_of(driver.pid)
                if moment == "workers start"
                else list(tmp_path.glob("a.h5.work/shard-*"))
            )
        )
        workers = workers_of(driver.pid)
        # As a terminal does: to all processes of the group.
        os.killpg(driver.pid, signal.SIGINT)
        _, err = driver.communicate()
    assert driver.returncode == 130
    assert "Traceback" not in err
    (error,) = [line for line in err.splitlines() if line.startswith("Error")]
    assert "interrupted" in error
    assert not any(map(is_running, workers))
    assert (tmp_path / "a.h5.work").is_dir()
    assert not list(tmp_path.rglob("*iaside-*"))
    if moment == "shards are made":
        found = run_command(*words, folder=tmp_path)
        assert found.code == 0, found.err
        alone = [word for word in words if word not in ("--workers", "2")]
        alone[alone.index("a.h5")] = "b.h5"
        assert run_command(*alone, folder=tmp_path).code == 0
        assert_same_results(tmp_path / "a.h5", tmp_path / "b.h5")


_SCRIPT = """
import iaside_onnx
print("run")
iaside_onnx.decompose({model!r}, "images.npz", "a.h5", bands=3, workers=2)
print("done")
"""


def test_a_script_need_not_be_written_for_workers(tmp_path: Path) -> None:
    """Each worker runs the user's script again, from its first line."""
    bundled_pictures(tmp_path / "images.npz")
    found = run_script(_SCRIPT.format(model=str(CNN)), tmp_path)
    assert found.code == 0, found.err
    assert found.out == "run\ndone\n"


@pytest.mark.parametrize(
    "name",
    [
        "multiprocessing",
        "iaside_onnx",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("numpy", "signal", "h5py")),
    ],
)
def test_modules_of_the_working_directory_are_not_imported(name: str, tmp_path: Path) -> None:
    """A stranger's folder of images holds code, and runs it."""
    bundled_pictures(tmp_path / "images.npz")
    (tmp_path / f"{name}.py").write_text("open('it-was-run', 'w').close()\nraise SystemExit(9)\n")
    # Where the installed command has its script.
    (tmp_path / "bin").mkdir()
    script = "import sys\nfrom iaside_onnx.cli import main\nmain()\n"
    words = ["decompose", str(CNN), "--images", "images.npz", "-o", "a.h5", "--bands", "3"]
    found = run_script(script, tmp_path / "bin", *words, "--workers", "2", cwd=tmp_path)
    assert found.code == 0, found.err
    assert not (tmp_path / "it-was-run").exists()


@pytest.mark.parametrize("baseline", ["zero", "mean", "noise", "complement"])
def test_a_run_over_any_baseline_is_resumed(baseline: Any, tmp_path: Path) -> None:
    """The mean colour is a tuple here and a list in a file, so its run would be another's."""
    words: dict[str, Any] = {"bands": 4, "limit": 80, "baseline": baseline, "threads": 1}
    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt):
        iaside_onnx.decompose(CNN, PICTURES, path, progress=Stopping(), **words)
    iaside_onnx.decompose(CNN, PICTURES, path, **words)
    assert not path.with_name("a.h5.work").exists()

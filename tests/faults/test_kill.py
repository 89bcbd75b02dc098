"""Runs that are killed at any moment and resumed equal an undisturbed run bit for bit."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.bad_case import Case
from tests.support.command import CNN, PICTURES, command, in_process, in_subprocess
from tests.support.comparing import assert_nothing_left, assert_same

# Of each run; more of them are asked for by hand: IASIDE_KILLS=50.
KILLS = int(os.environ.get("IASIDE_KILLS", "6"))
WORDS = ("decompose", CNN, "--images", PICTURES, "-o")
# Options, and the shards that they make: of 8 images, of 32, of 1, and of a sample in passes.
RUNS = {
    "8 images a shard": ("--bands 9 --limit 100", 13),
    "32 images a shard": ("--bands 7 --limit 400", 13),
    "1 image a shard": ("--bands 12 --limit 20", 20),
    "a sample": ("--bands 8 --limit 300 --method sampled --budget 20000", 14),
}


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Return as soon as it has happened, or the process has ended."""
    while not happened() and process.poll() is None:
        time.sleep(0.002)


def run_and_kill(
    output: Path, options: list[str], most: int, stage: str, rng: np.random.Generator
) -> bool:
    """Start the run, kill its process group in the stage, and return whether it still ran."""
    work = output.with_name(output.name + ".work")

    def shards() -> int:
        return len(list(work.glob("shard-*.h5")))

    with subprocess.Popen(
        command(*WORDS, output, *options), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        delay = rng.uniform(0, 1.5 if stage == "start-up" else 0.15)
        if stage != "start-up":
            more = most if stage == "assembly" else int(rng.integers(1, 4))
            wanted = min(shards() + more, most)
            wait_until(lambda: shards() >= wanted and (work / "lock").exists(), process)
        ending = time.monotonic() + delay
        wait_until(lambda: time.monotonic() > ending, process)
        hit = process.poll() is None
        if hit:
            os.killpg(process.pid, signal.SIGKILL)
    return hit


@pytest.mark.parametrize(
    ("run", "wanted"),
    [("a sample", 2), *(pytest.param(run, KILLS, marks=pytest.mark.slow) for run in RUNS)],
)
def test_a_run_killed_at_random_moments_equals_an_undisturbed_one(
    run: str, wanted: int, tmp_path: Path
) -> None:
    """A shard that is half written, lost, taken from another run, or evaluated otherwise."""
    words, most = RUNS[run]
    options = words.split()
    undisturbed = tmp_path / "undisturbed.h5"
    in_subprocess(*WORDS, undisturbed, *options).succeeds()
    rng = np.random.default_rng(20260)
    stages = itertools.cycle(["shards", "assembly", "start-up", "shards", "shards"])
    kills = 0
    for number in itertools.count():
        output = tmp_path / f"killed-{number}.h5"
        while kills < wanted and not output.exists():
            kills += run_and_kill(output, options, most, next(stages), rng)
        in_subprocess(*WORDS, output, *options).succeeds()
        assert_same(undisturbed, output)
        assert_nothing_left(output)
        if kills >= wanted:
            break


MOMENTS = {
    "before-the-archive-is-renamed": "on(Path, 'replace', before=lambda a: a[1].name == 'out.h5')",
    "after-the-archive-is-renamed": "on(Path, 'replace', after=lambda a: a[1].name == 'out.h5')",
    "after-the-first-shard-is-renamed": "on(Path, 'replace', after=lambda a: '0.h5' in a[1].name)",
    "while-it-clears-up": "on(Path, 'unlink', after=lambda a: a[0].name == 'plan.json')",
}
# One moment of each kind of work with every commit, all of them where they take long.
FEW = [
    pytest.param(name, marks=[] if number in (0, 2) else pytest.mark.slow)
    for number, name in enumerate(MOMENTS)
]
_DRIVER = """
import os, signal, sys
from pathlib import Path

def on(owner, name, before=lambda a: False, after=lambda a: False):
    real = getattr(owner, name)
    def spy(*args, **words):
        if before(args):
            os.kill(os.getpid(), signal.SIGKILL)
        real(*args, **words)
        if after(args):
            os.kill(os.getpid(), signal.SIGKILL)
    setattr(owner, name, spy)

{moment}
from iaside_onnx.cli import main
main()
"""


def kill_at(moment: str, words: Sequence[str] = tuple(Case("good", "").words)) -> None:
    """Run the good case, or another, in a process that kills itself at that moment."""
    script = _DRIVER.format(moment=MOMENTS[moment])
    words = [sys.executable, "-c", script, *words]
    killed = subprocess.run(words, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_between_two_steps_leaves_nothing_behind(moment: str, folder: Path) -> None:
    """A temporary archive or a folder of work that no later run removes."""
    kill_at(moment)
    in_process(*Case("same", "").words).succeeds()
    assert_nothing_left(folder / "out.h5")
    in_process(*Case("undisturbed", "", output="other.h5").words).succeeds()
    assert_same(folder / "other.h5", folder / "out.h5")


def test_shards_without_a_plan_are_not_taken_over(folder: Path) -> None:
    """Nothing says whose they are; the next run, of other options, would mix them with its own."""
    kill_at("after-the-first-shard-is-renamed")
    assert list(folder.glob("out.h5.work/shard-*.h5"))
    (folder / "out.h5.work" / "plan.json").unlink()
    options = "--baseline mean --overwrite"
    in_process(*Case("other", "", options=options).words).succeeds()
    in_process(*Case("undisturbed", "", options=options, output="other.h5").words).succeeds()
    assert_same(folder / "other.h5", folder / "out.h5")


SAMPLE = tuple(Case("sample", "", options="--method sampled --budget 30").words)
EXTEND = ("extend", "out.h5", "--budget", "44")


@pytest.mark.parametrize("moment", FEW)
def test_a_killed_sample_goes_on_to_the_same_bits(moment: str, folder: Path) -> None:
    """A round that ends elsewhere, or a pass that begins anew."""
    kill_at(moment, SAMPLE)
    in_process(*SAMPLE).succeeds()
    assert_nothing_left(folder / "out.h5")
    words = Case("undisturbed", "", output="other.h5", options="--method sampled --budget 30").words
    in_process(*words).succeeds()
    assert_same(folder / "other.h5", folder / "out.h5")


@pytest.mark.parametrize("moment", FEW)
def test_a_killed_extension_loses_nothing(moment: str, folder: Path) -> None:
    """The archive that was extended is gone, or the folder of work stands in the way for ever."""
    in_process(*SAMPLE).succeeds()
    shutil.copy(folder / "out.h5", folder / "other.h5")
    kill_at(moment, EXTEND)
    in_process("show", "out.h5").succeeds()
    in_process(*EXTEND).succeeds()
    assert_nothing_left(folder / "out.h5")
    in_process("extend", "other.h5", *EXTEND[2:]).succeeds()
    assert_same(folder / "other.h5", folder / "out.h5")


@pytest.mark.parametrize("moment", FEW[:2])
def test_a_killed_merge_loses_nothing(moment: str, folder: Path) -> None:
    """Half an archive, or a folder of work that stays for ever."""
    with np.load("images.npz") as arrays:
        np.savez("others.npz", images=255 - arrays["images"], labels=arrays["labels"])
    in_process(*Case("one", "", output="a.h5").words).succeeds()
    in_process(*Case("two", "", output="b.h5", images="others.npz").words).succeeds()
    in_process("merge", "a.h5", "b.h5", "-o", "other.h5").succeeds()
    kill_at(moment, ("merge", "a.h5", "b.h5", "-o", "out.h5"))
    again = in_process("merge", "a.h5", "b.h5", "-o", "out.h5")
    assert again.code == (1 if moment.startswith("after") else 0)
    assert_nothing_left(folder / "out.h5")
    assert_same(folder / "other.h5", folder / "out.h5")


def test_an_unfinished_extension_is_not_mixed_with_another(folder: Path) -> None:
    """Advice that cannot be followed, as `extend` has no --overwrite; or rounds of two budgets."""
    in_process(*SAMPLE).succeeds()
    kill_at("after-the-first-shard-is-renamed", EXTEND)
    in_process("extend", "out.h5", "--budget", "36").fails(
        "budget (44 there, 36 now); finish it with the same options, or delete that folder"
    )
    in_process(*EXTEND).succeeds()
    assert_nothing_left(folder / "out.h5")


def test_an_unfinished_extension_is_of_one_archive(folder: Path) -> None:
    """Shards of the archive that was here before are taken for those of the one that is now."""
    in_process(*SAMPLE).succeeds()
    kill_at("after-the-first-shard-is-renamed", EXTEND)
    other = Case("longer", "", output="other.h5", options="--method sampled --budget 36")
    in_process(*other.words).succeeds()
    shutil.copy(folder / "other.h5", folder / "out.h5")
    in_process(*EXTEND).fails("an unfinished run with other options: the archive that is extended")

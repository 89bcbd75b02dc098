"""Commands that meet what another command left, or is doing."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.bad_case import pixels, save_images, save_wide
from tests.support.command import PATIENCE, Outcome, command, in_process
from tests.support.comparing import assert_nothing_left, assert_same

# 10 shards of 4 images.
WORDS = ("decompose", "model.onnx", "--images", "images.npz", "--bands", "10", "-o")
OUTPUT = Path("out.h5")
BAD = 17


@pytest.fixture(autouse=True)
def _wide(folder: Path) -> None:
    save_wide(folder)


def run(*options: str) -> Outcome:
    return in_process(*WORDS, OUTPUT, *options)


def images(*, mended: bool = True) -> NDArray[np.float64]:
    """Floats, of which one image has a NaN unless mended."""
    values = pixels(40, 28, 28) / 255
    if not mended:
        values[BAD, 0, 0] = np.nan
    return values


@pytest.fixture
def unfinished(folder: Path) -> Path:
    """The folder of a run in which one image failed and the others are finished."""
    save_images(folder, images=images(mended=False), labels=np.arange(40) % 5)
    run().fails(
        "1 of 40 images failed, the first is image 17", "out.h5.work", "run the same command"
    )
    return folder / "out.h5.work"


def mend(folder: Path) -> None:
    save_images(folder, images=images(), labels=np.arange(40) % 5)


@contextmanager
def running(*words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has finished at least one shard; killed in the end."""
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while not list(Path().glob("out.h5.work/shard-*.h5")):
                assert process.poll() is None
                time.sleep(0.002)
            yield process
        finally:
            process.kill()


def test_a_finished_output_of_other_options_is_refused_and_named() -> None:
    """Hours of work overwritten, or an archive of other options taken for the answer."""
    run().succeeds()
    before = OUTPUT.read_bytes()
    run("--bands", "3", "--baseline", "mean").fails(
        "out.h5: is the archive of another run",
        "bands (10 there, 3 now)",
        'baseline ("zero" there, "mean" now)',
        "--overwrite",
    )
    assert OUTPUT.read_bytes() == before
    run("--bands", "3", "--baseline", "mean", "--overwrite").succeeds()
    with h5py.File(OUTPUT) as file:
        assert file["band"].size == 3


def test_an_unfinished_run_of_other_options_is_refused_and_named(
    unfinished: Path, folder: Path
) -> None:
    """Shards of two different runs in one archive."""
    kept = sorted(unfinished.iterdir())
    run("--seed", "5", "--pixel-range", "clip").fails(
        "out.h5.work: holds an unfinished run with other options",
        "seed (0 there, 5 now)",
        'pixel_range ("none" there, "clip" now)',
        "--overwrite",
    )
    assert sorted(unfinished.iterdir()) == kept
    mend(folder)
    run("--pixel-range", "clip", "--overwrite").succeeds()
    assert_nothing_left(folder / OUTPUT)


def test_other_images_are_another_run(unfinished: Path, folder: Path) -> None:
    """Shards of images that are no longer there, under names that fit."""
    save_images(folder, images=images()[:39], labels=np.arange(39) % 5)
    run().fails("the number of images (40 there, 39 now)")
    assert unfinished.is_dir()


def test_the_same_command_again_does_nothing() -> None:
    """Everything is evaluated again, or the archive is written anew."""
    run().succeeds()
    before = OUTPUT.stat()
    again = run()
    again.succeeds()
    assert "out.h5 is already finished" in again.err
    assert "evaluations/s" not in again.err
    assert "SIS" in again.out
    assert OUTPUT.stat() == before


def test_one_output_has_one_writer_and_a_dead_one_holds_nothing(folder: Path) -> None:
    """Two processes write one folder of work, or a lock outlives its process for ever."""
    with running(*WORDS, OUTPUT) as first:
        first.send_signal(signal.SIGSTOP)
        run().fails("another process is writing this output")
        run("--overwrite").fails("another process is writing this output")
        first.kill()
        first.wait()
        outcome = run()
    outcome.succeeds()
    assert "of 40 images are finished already" in outcome.err
    assert_nothing_left(folder / OUTPUT)


@pytest.mark.parametrize("limits", [(), ("--timeout", "7200")], ids=["alone", "with a limit"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_how_to_resume_and_does(
    number: signal.Signals, limits: tuple[str, ...], folder: Path
) -> None:
    """A traceback, a wrong status, or finished shards lost."""
    with running(*WORDS, OUTPUT, *limits) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    outcome = Outcome(process.returncode, out, err)
    outcome.fails("what is finished is kept: the same command again resumes", code=128 + number)
    assert not OUTPUT.exists()
    assert not list(folder.rglob("*.tmp"))
    resumed = run()
    resumed.succeeds()
    assert "of 40 images are finished already" in resumed.err
    in_process(*WORDS, "undisturbed.h5").succeeds()
    assert_same(folder / "undisturbed.h5", folder / OUTPUT)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.99])
def test_a_damaged_shard_is_said_and_evaluated_again(
    part: float, unfinished: Path, folder: Path
) -> None:
    """Wrong numbers in the archive, a crash inside HDF5, or a run that can never be finished."""
    shard = unfinished / "shard-000002.h5"
    data = bytearray(shard.read_bytes())
    data[int(part * len(data))] ^= 0x55
    shard.write_bytes(data)
    mend(folder)
    outcome = run()
    outcome.succeeds()
    assert "shard-000002.h5: damaged shard; it is evaluated again" in outcome.err
    assert "32 of 40 images are finished already" in outcome.err
    in_process(*WORDS, "undisturbed.h5").succeeds()
    assert_same(folder / "undisturbed.h5", folder / OUTPUT)


def test_a_damaged_plan_is_said(unfinished: Path) -> None:
    """A traceback for ever after."""
    (unfinished / "plan.json").write_text("[1]")
    run().fails("plan.json: unreadable", "delete out.h5.work")


def test_a_mended_image_costs_its_shard_only(unfinished: Path, folder: Path) -> None:
    """One bad image among many makes a run that can only be started all over."""
    assert len(list(unfinished.glob("shard-*.h5"))) == 10
    mend(folder)
    outcome = run()
    outcome.succeeds()
    assert "36 of 40 images are finished already" in outcome.err
    in_process(*WORDS, "undisturbed.h5").succeeds()
    assert_same(folder / "undisturbed.h5", folder / OUTPUT)
    assert_nothing_left(folder / OUTPUT)


@pytest.mark.usefixtures("unfinished")
def test_skipped_images_are_archived_with_reasons(folder: Path) -> None:
    """An image left out in silence, or rows that no longer belong to their images."""
    outcome = run("--on-bad-image", "skip")
    outcome.succeeds()
    assert "40 of 40 images are finished already" in outcome.err
    assert "39 of 40, 1 failed" in outcome.out
    with h5py.File(OUTPUT) as file:
        assert file["failed"][()].tolist() == [BAD]
        assert file["failed_id"][()].tolist() == [b"17"]
        (reason,) = file["failed_reason"][()].tolist()
        assert b"NaN" in reason
        counts = [file.attrs[f"images_{name}"] for name in ("asked", "done", "failed")]
        assert counts == [40, 39, 1]
        assert file["image"][()].tolist() == [i for i in range(40) if i != BAD]
        labels = file["label"][()]
        np.testing.assert_array_equal(labels, np.delete(np.arange(40) % 5, BAD))
        skipped = file["worth"][()]
    mend(folder)
    in_process(*WORDS, "undisturbed.h5").succeeds()
    with h5py.File("undisturbed.h5") as file:
        np.testing.assert_array_equal(skipped, np.delete(file["worth"][()], BAD, axis=0))


def test_other_pixels_under_the_same_names_are_refused(folder: Path) -> None:
    """Array images have no names but their numbers: clean and damaged copies look the same."""
    run().succeeds()
    before = OUTPUT.read_bytes()
    save_images(folder, images=255 - pixels(40, 28, 28), labels=np.arange(40) % 5)
    run().fails("archive of other images", "image 00 has changed", "--overwrite")
    assert OUTPUT.read_bytes() == before
    run("--overwrite").succeeds()
    run("--overwrite")
    in_process(*WORDS, "other.h5").succeeds()
    assert_same(Path("other.h5"), OUTPUT)


def test_a_run_is_not_resumed_over_other_pixels(folder: Path, unfinished: Path) -> None:
    """One archive would hold numbers of two data sets, and nothing would say so."""
    shards = sorted(path.name for path in unfinished.glob("shard-*.h5"))
    save_images(folder, images=1 - images(), labels=np.arange(40) % 5)
    run().fails("run over other images", "image 00 has changed")
    assert sorted(path.name for path in unfinished.glob("shard-*.h5")) == shards
    outcome = run("--overwrite")
    outcome.succeeds()
    assert "image 00 has changed since; its shard is evaluated again" in outcome.err
    in_process(*WORDS, "other.h5").succeeds()
    assert_same(Path("other.h5"), OUTPUT)


def test_an_input_is_never_the_output(folder: Path) -> None:
    """--overwrite would put the archive in place of the images."""
    with h5py.File("pictures.h5", "w") as file:
        file["images"], file["labels"] = pixels(40, 28, 28), np.arange(40) % 5
    before = (folder / "pictures.h5").read_bytes()
    words = ("decompose", "model.onnx", "--images", "pictures.h5", "-o", "pictures.h5")
    in_process(*words, "--overwrite").fails("is one of the inputs", code=2)
    assert (folder / "pictures.h5").read_bytes() == before


def test_a_folder_of_that_name_keeps_what_is_not_ours(folder: Path) -> None:
    """OUT.h5.work may be somebody's own folder."""
    (folder / "out.h5.work").mkdir()
    (folder / "out.h5.work" / "mine.txt").write_text("keep")
    run().succeeds()
    assert [path.name for path in (folder / "out.h5.work").iterdir()] == ["mine.txt"]


def test_threads_that_nobody_chose_are_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with another share of cores could never resume, nor show what is finished."""
    run().succeeds()
    monkeypatch.setattr("iaside_onnx.runtime.session.usable_cores", lambda: 1)
    outcome = run()
    outcome.succeeds()
    assert "already finished" in outcome.err
    run("--threads", "1").fails('threads ("all usable cores" there, 1 now)')


@pytest.mark.usefixtures("unfinished")
def test_a_bad_partner_is_named_as_the_cause() -> None:
    """The image itself is good: to mend it would be in vain."""
    words = (*WORDS, "partners.h5", "--baseline", "complement", "--on-bad-image", "skip")
    in_process(*words).succeeds()
    with h5py.File("partners.h5") as file:
        reasons = dict(zip(file["failed"][...].tolist(), file["failed_reason"][...], strict=True))
    assert b"image 17: it has NaN values" in reasons.pop(BAD)
    assert reasons
    for reason in reasons.values():
        assert reason.startswith(b"the image that is its baseline failed: images.npz: image 17")

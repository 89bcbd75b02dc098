"""Where the time of a run went: in a file, in the archive, and on the terminal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from iaside_onnx import decompose, open_archive
from iaside_onnx.errors import ArchiveError
from iaside_onnx.progress import LogProgress
from iaside_onnx.runtime import Predictor
from tests.support.bad_case import pixels, save_images
from tests.support.command import Outcome, in_process

pytestmark = pytest.mark.usefixtures("folder")

BANDS = 3
WORDS = ("decompose", "model.onnx", "--images", "images.npz", "--bands", str(BANDS))
PROFILE = Path("profile.json")
PHASES = ("wait for decode", "fft", "mix", "model", "gather", "write", "other")
UNREADABLE = "time       the profile is unreadable"


def run(*options: str) -> Outcome:
    return in_process(*WORDS, "-o", "out.h5", "--profile", PROFILE, *options)


def written() -> dict[str, Any]:
    data = json.loads(PROFILE.read_text())
    assert isinstance(data, dict)
    return data


def check(profile: dict[str, Any], images: int) -> None:
    """Assert what holds of every profile; the clock itself is nobody's business."""
    seconds = profile["seconds"]
    assert list(seconds) == list(PHASES)
    assert min(seconds.values()) >= 0
    assert math.fsum(seconds.values()) == pytest.approx(profile["wall"], rel=1e-9)
    assert profile["images"] == images
    assert profile["evaluations"] == images * 2**BANDS
    rate = profile["evaluations_per_second"]
    assert rate * profile["wall"] == pytest.approx(profile["evaluations"])


def break_an_image() -> None:
    """Give the last of the six images a NaN."""
    images = pixels() / 255
    images[5, 0, 0] = np.nan
    save_images(Path(), images=images)


class Stopping(LogProgress):
    """Presses Ctrl-C as soon as an image is finished."""

    def advance(self, images: int) -> None:
        if images:
            raise KeyboardInterrupt


class Removing(LogProgress):
    """Removes the folder of the profile while the run is under way."""

    def begin(self, *_: int) -> None:
        Path("dir").rmdir()


def test_phases_sum_to_the_time_of_the_run() -> None:
    """Time is counted twice or not at all, and the wrong part is made faster."""
    run().succeeds()
    profile = written()
    check(profile, 6)
    assert profile["wall"] > 0
    assert all(profile["seconds"][name] > 0 for name in PHASES[:-1])


def test_a_search_for_the_batch_size_is_no_part_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of search are told as those of the model."""

    def search(predictor: Predictor, *_: object) -> tuple[int, str]:
        predictor.run_buffer()
        predictor.profile.seconds["model"] += 1000
        return predictor.batch_size, "batch size: as it is"

    monkeypatch.setattr("iaside_onnx.runs.planning.fastest_batch", search)
    run("--batch-size", "auto").succeeds()
    check(written(), 6)
    assert written()["seconds"]["model"] < 1000


def test_file_archive_and_json_agree() -> None:
    """Three answers to one question."""
    outcome = run("--json")
    outcome.succeeds()
    profile = written()
    assert open_archive("out.h5").metadata.profile == profile
    assert json.loads(outcome.out)["profile"] == profile
    shown = in_process("show", "out.h5", "--json")
    assert json.loads(shown.out)["profile"] == profile


def test_show_prints_the_time_of_each_phase() -> None:
    """The archive knows, and nobody is told."""
    run().succeeds()
    profile = written()
    shown = in_process("show", "out.h5")
    shown.succeeds()
    (line,) = (line for line in shown.out.splitlines() if line.startswith("time "))
    assert f"{profile['wall']:.1f} s, {profile['evaluations_per_second']:,.0f} evalu" in line
    for name, seconds in profile["seconds"].items():
        assert f"{name} {100 * seconds / profile['wall']:.1f} %" in line


def test_an_archive_that_was_not_asked_for_it_has_none() -> None:
    """Equal runs make unequal archives, because clocks do."""
    outcome = in_process(*WORDS, "-o", "out.h5")
    outcome.succeeds()
    assert "\ntime " not in outcome.out
    with h5py.File("out.h5") as file:
        assert "profile" not in file.attrs
    assert open_archive("out.h5").metadata.profile is None
    assert "profile" not in json.loads(in_process("show", "out.h5", "--json").out)


def test_a_run_that_fails_says_where_its_time_went() -> None:
    """The profile of a night is lost to one bad image."""
    break_an_image()
    run().fails("1 of 6 images failed")
    check(written(), 5)
    assert not Path("out.h5").exists()


def test_a_run_that_is_interrupted_says_where_its_time_went() -> None:
    """Nobody waits for the end of a run that is too slow, to learn why."""
    with pytest.raises(KeyboardInterrupt):
        decompose(
            "model.onnx", "images.npz", "out.h5", bands=BANDS, profile=PROFILE, progress=Stopping()
        )
    profile = written()
    check(profile, 0)
    assert profile["seconds"]["model"] > 0
    assert not list(Path().glob(".*.tmp"))


def test_a_resumed_run_tells_of_its_own_images() -> None:
    """Images that an earlier process evaluated count for this one's speed."""
    break_an_image()
    run().fails("1 of 6 images failed")
    outcome = run("--on-bad-image", "skip")
    outcome.succeeds()
    check(written(), 0)
    assert open_archive("out.h5").metadata.profile == written()
    assert "0 evaluations/s" in outcome.out


def edit(value: object) -> None:
    with h5py.File("out.h5", "r+") as file:
        file.attrs["profile"] = value


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"wall": 1.0},
        {"wall": 1.0, "seconds": "a string", "evaluations_per_second": 1},
        {"wall": "long", "seconds": {}, "evaluations_per_second": 1},
        {"wall": 1.0, "seconds": {"mix": None}, "evaluations_per_second": 1},
        {"wall": 1.0, "seconds": {"mix": [1]}, "evaluations_per_second": 1},
        {"wall": None, "seconds": [1, 2], "evaluations_per_second": {}},
        pytest.param(
            {"wall": 10**400, "seconds": {}, "evaluations_per_second": 1},
        ),
    ],
    ids=[
        "empty", "keys missing", "string", "words for seconds", "null", "list", "all wrong", "huge",
    ],
)  # fmt: skip
def test_an_edited_profile_does_not_hide_the_results(profile: dict[str, Any]) -> None:
    """A traceback where the table was, for an attribute that no result depends on."""
    run().succeeds()
    edit(json.dumps(profile))
    shown = in_process("show", "out.h5")
    shown.succeeds()
    assert UNREADABLE in shown.out
    assert "SIS" in shown.out
    assert json.loads(in_process("show", "out.h5", "--json").out)["profile"] == profile


def test_an_empty_run_divides_by_nothing() -> None:
    """An archive that was written in no time at all by somebody's clock."""
    run().succeeds()
    edit(json.dumps({"wall": 0, "seconds": {"mix": 0}, "evaluations_per_second": 0}))
    shown = in_process("show", "out.h5")
    shown.succeeds()
    assert "time       0.0 s, 0 evaluations/s" in shown.out


@pytest.mark.parametrize("value", ["a string", '"a string"', "[1]", 5], ids=repr)
def test_a_profile_that_is_no_object_is_one_sentence(value: object) -> None:
    """A traceback; this is how every other attribute that is not of its kind is treated."""
    run().succeeds()
    edit(value)
    in_process("show", "out.h5").fails("the attribute 'profile' is missing or unreadable")


def test_a_number_that_json_does_not_have_is_no_traceback() -> None:
    """Python reads and writes NaN in JSON, and other programs do not."""
    run().succeeds()
    edit('{"wall": NaN, "seconds": {}, "evaluations_per_second": 1}')
    in_process("show", "out.h5").fails("the attribute 'profile' is missing or unreadable")


def test_a_profile_that_cannot_be_written_costs_no_image() -> None:
    """Hours of work for a file that says how long they were."""
    Path("dir").mkdir()
    with pytest.raises(ArchiveError, match=r"profile\.json: cannot be written: No such file"):
        decompose(
            "model.onnx", "images.npz", "out.h5", bands=BANDS, profile="dir/profile.json",
            progress=Removing(),
        )  # fmt: skip
    outcome = run()
    outcome.succeeds()
    assert "6 of 6 images are finished already" in outcome.err


def test_a_finished_archive_gives_its_profile_again() -> None:
    """The file that was asked for is not there, and the command says that all is well."""
    run().succeeds()
    profile = written()
    PROFILE.unlink()
    run().succeeds()
    assert written() == profile

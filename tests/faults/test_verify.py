"""What `iaside verify` must find: every change of what is read from an archive."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx.archive import digest_of
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.runs import Evaluator, Job
from tests.support.command import CNN, PATIENCE, PICTURES, in_process, in_subprocess


@pytest.fixture(scope="module", params=["exact", "sampled"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small archive of all coalitions, or of a sample with pairs that differ."""
    path = tmp_path_factory.mktemp(request.param) / "a.h5"
    options: dict[str, Any] = {"limit": 20, "bands": 4}
    if request.param == "sampled":
        # A second pair for some images.
        options |= {"method": "sampled", "budget": 180}
    iaside_onnx.decompose(CNN, PICTURES, path, **options)
    return path


def edited(original: Path, folder: Path, edit: Callable[[Any], object], *, sign: bool) -> Path:
    """A copy that somebody has changed, and signed again or not."""
    path = folder / "edited.h5"
    shutil.copy(original, path)
    with h5py.File(path, "r+") as file:
        edit(file)
        if sign:
            file.attrs["digest"] = digest_of(file)
    return path


def test_a_whole_archive_is_well(original: Path) -> None:
    """Otherwise what is found below could be found everywhere."""
    found = iaside_onnx.verify(original)
    assert found.problems == []
    assert found.checked == ["schema", "checksums", "digest", "arithmetic"]
    outcome = in_process("verify", original)
    outcome.succeeds()
    digest = found.archive.metadata.digest
    assert f"digest     {digest}" in outcome.out
    assert f"digest     {digest}" in in_process("show", original).out


def set_attribute(file: Any) -> None:
    file.attrs["model_name"] = "another.onnx"


def set_note(file: Any) -> None:
    file.attrs["notes"] = json.dumps(["all is well"])


def set_id(file: Any) -> None:
    file["image_id"][0] = file["image_id"][1]


def set_label(file: Any) -> None:
    file["label"][3] = 7


def drop_digest(file: Any) -> None:
    del file.attrs["digest"]


@pytest.mark.parametrize("edit", [set_attribute, set_note, set_id, set_label])
def test_a_change_is_found_by_the_digest(
    edit: Callable[[Any], object], original: Path, tmp_path: Path
) -> None:
    """HDF5's own checksums are of chunks as they are written, so an edit has the right ones."""
    outcome = in_process("verify", edited(original, tmp_path, edit, sign=False))
    assert outcome.code == 1
    assert "a value or an attribute changed" in outcome.out


def test_an_archive_without_a_digest_says_so(original: Path, tmp_path: Path) -> None:
    """Then metadata may have been changed, and nobody would know."""
    found = iaside_onnx.verify(edited(original, tmp_path, drop_digest, sign=False))
    assert ["there is no digest" in problem for problem in found.problems] == [True]


def set_worth(file: Any) -> None:
    file["worth"][2, 3] = file["worth"][2, 3] + 0.01


def set_phi(file: Any) -> None:
    file["phi"][1] = file["phi"][1] * 1.001


def set_sis(file: Any) -> None:
    file["sis_high"][...] = file["sis_high"][()] + 1e-4


def set_units(file: Any) -> None:
    file["phi"].attrs["units"] = "bit"


def add_table(file: Any) -> None:
    file["more"] = np.arange(3)


def add_attribute(file: Any) -> None:
    file.attrs["approved"] = "yes"


def swap_scale(file: Any) -> None:
    file["phi"].dims[0].detach_scale(file["band"])


def set_accuracy(file: Any) -> None:
    file.attrs["accuracy"] = 1.0


def set_count(file: Any) -> None:
    file.attrs["images_asked"] = 1000


def set_runtime(file: Any) -> None:
    file.attrs["provider"] = "CUDAExecutionProvider"


def set_time(file: Any) -> None:
    file.attrs["started"] = "yesterday"


def set_preprocess(file: Any) -> None:
    options = json.loads(file.attrs["options"])
    options["resolved"]["preprocess"] = {"mean": "none"}
    file.attrs["options"] = json.dumps(options)
    file.attrs["preprocess"] = json.dumps({"mean": "none"})


def set_edges(file: Any) -> None:
    file["band_low"][2] = 0.4


def set_coalition(file: Any) -> None:
    values = file["coalition"][()]
    values[..., [2, 3]] = values[..., [3, 2]]
    file["coalition"][...] = values


def set_image(file: Any) -> None:
    file["image"][1] = file["image"][0]


def set_hash(file: Any) -> None:
    file["image_sha256"][2] = b"ab"


def set_whole(file: Any) -> None:
    file["log_probability_whole"][4] = -1e-4


def set_empty(file: Any) -> None:
    file["log_probability_empty"][4] = -5


def set_above(file: Any) -> None:
    file["worth"][2, 3] = 50


def set_infinite(file: Any) -> None:
    file["worth"][2, 3] = -np.inf


def set_floored(file: Any) -> None:
    file["floored"][0] = 999


def set_uniform(file: Any) -> None:
    file.attrs["uniform"] = 1


def set_smallest(file: Any) -> None:
    file.attrs["smallest_bands"] = "[0, 3]"


def scale(file: Any) -> None:
    file["phi"].attrs["scale_factor"] = 2.0


def fill(file: Any) -> None:
    file["psi"].attrs["_FillValue"] = 0.0


def drop_checksums(file: Any) -> None:
    values = file["label"][()]
    file.attrs["kept"] = file["label"].attrs["long_name"]
    del file["label"]
    file["label"] = values
    file["label"].attrs["long_name"] = file.attrs["kept"]
    file["label"].attrs["units"] = "1"
    file["label"].dims[0].attach_scale(file["image"])
    del file.attrs["kept"]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (set_worth, "phi_image does not follow from the worths for 1 of"),
        (set_phi, "phi does not follow from phi_image"),
        (set_sis, "sis_high does not follow from phi_image"),
        (set_units, "the units of 'phi' is 'bit', not 'nat'"),
        (add_table, "'more' is in the file, but not in the schema"),
        (add_attribute, "the attribute 'approved' is in the file"),
        (set_accuracy, "the accuracy is 1.0, where"),
        (set_count, "images asked, done and failed are (1000, "),
        (set_runtime, "the attribute 'provider' is not what the options say"),
        (set_time, "the attribute 'started' is not a time: 'yesterday'"),
        (set_preprocess, "the attribute 'preprocess' cannot be used"),
        (set_edges, "are not those of 4 linear bands"),
        (set_coalition, "coalition"),
        (set_image, "'image' holds a position twice"),
        (set_hash, "not a SHA-256: 'ab'"),
        (set_whole, "'log_probability_whole' is not the worth"),
        (set_empty, "'log_probability_empty' is not the worth"),
        (set_above, "a worth is not a log-probability"),
        (set_infinite, "a worth is not a log-probability"),
        (set_floored, "'floored' counts more worths than there are"),
        (set_uniform, "uniform does not follow"),
        (set_smallest, "smallest does not follow"),
        (scale, "the attribute 'scale_factor' of 'phi' is not in the schema"),
        (fill, "the attribute '_FillValue' of 'psi' is not in the schema"),
        (swap_scale, "axis 0 of 'phi' has the scales [], not 'band'"),
        (drop_checksums, "the variable 'label' has no checksums"),
    ],
)
def test_a_change_that_was_signed_is_found_by_what_it_means(
    edit: Callable[[Any], object], says: str, original: Path, tmp_path: Path
) -> None:
    """A digest can be made again by anybody; numbers that do not add up stay so."""
    found = iaside_onnx.verify(edited(original, tmp_path, edit, sign=True))
    assert [says in problem for problem in found.problems] == [True], found.problems


def test_the_place_of_a_damaged_chunk_is_named(original: Path, tmp_path: Path) -> None:
    """One flipped bit in the worths."""
    path = tmp_path / "flipped.h5"
    shutil.copy(original, path)
    with h5py.File(path) as file:
        chunk = file["worth"].id.get_chunk_info(0)
        place = chunk.byte_offset + chunk.size // 2
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(data)
    found = iaside_onnx.verify(path)
    assert found.problems[0].startswith("the variable 'worth' cannot be read at rows 0 to ")
    outcome = in_subprocess("verify", path, "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out)["problems"] == found.problems


def test_a_damaged_heap_is_found_at_once(original: Path, tmp_path: Path) -> None:
    """HDF5 reads for ever on one whose objects have other lengths."""
    path = tmp_path / "flipped.h5"
    data = bytearray(original.read_bytes())
    heap = data.index(b"GCOL")
    # The length of its second object: each holds one reference, of 8 bytes.
    place = heap + 16 + 24 + 8
    assert data[place] == 8
    said = set()
    for length in (0, 17, 137, 255):
        data[place] = length
        path.write_bytes(data)
        try:
            said.update(iaside_onnx.verify(path, timeout=PATIENCE).problems)
        except ArchiveError as error:
            said.add(str(error))
    assert f"the heap at byte {heap} is damaged" in said
    assert not [text for text in said if "seconds" in text]


_FLIPS = """
import collections, os, random, signal, sys
from pathlib import Path
import numpy as np
from iaside_onnx import open_archive
from iaside_onnx.analysis import check
from iaside_onnx.errors import ArchiveError

original, copy, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
data, whole, rng = original.read_bytes(), open_archive(original), random.Random(0)
seen = collections.Counter()
for _ in range(count):
    flipped, place = bytearray(data), rng.randrange(len(data))
    flipped[place] ^= 1 << rng.randrange(8)
    copy.write_bytes(flipped)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            if check(copy)[0]:
                os._exit(1)
            found = open_archive(copy)
            same = found.metadata == whole.metadata and found.names == whole.names and all(
                np.array_equal(found[n], whole[n], equal_nan=found[n].dtype.kind == "f")
                for n in whole.names
            )
            os._exit(2 if same else 3)
        except ArchiveError:
            os._exit(1)
        except BaseException as error:
            print(place, repr(error), file=sys.stderr)
            os._exit(4)
    _, status = os.waitpid(child, 0)
    # A crash or a hang of HDF5, which `verify` reports of its child, is found as well.
    seen[os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1] += 1
print(seen[1], seen[2], seen[3], seen[4])
"""


@pytest.mark.parametrize("flips", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_found_or_changes_nothing(
    flips: int, original: Path, tmp_path: Path
) -> None:
    """An archive that reads otherwise than it was written, and is called well, is worthless."""
    words: list[str | Path] = [
        sys.executable,
        "-c",
        _FLIPS,
        original,
        tmp_path / "flipped.h5",
        str(flips),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found, harmless, missed, raised = map(int, done.stdout.split())
    assert (missed, raised) == (0, 0), done.stderr
    assert found > flips // 15
    assert harmless > flips // 15


def test_hdf5_that_crashes_or_never_ends_is_an_error(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged files do both; neither may take this process along."""
    # No interpreter starts so fast.
    with pytest.raises(ArchiveError, match=r"was not read in 0\.001 seconds"):
        iaside_onnx.verify(original, timeout=0.001)
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -ABRT $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crashing))
    with pytest.raises(ArchiveError, match="HDF5 itself fails on it"):
        iaside_onnx.verify(original)
    with pytest.raises(OptionError, match="timeout"):
        iaside_onnx.verify(original, timeout=0)


def test_what_is_no_archive(tmp_path: Path) -> None:
    """One sentence, and exit 1."""
    in_process("verify", tmp_path / "none.h5").fails("does not exist")
    (tmp_path / "a.h5").write_bytes(b"no archive")
    in_process("verify", tmp_path / "a.h5").fails("not an HDF5 file, or a damaged one")


def test_some_worths_are_evaluated_again(original: Path) -> None:
    """The same model on the same images must still say so, and how closely is said."""
    there = int((~np.isnan(iaside_onnx.open_archive(original).worth())).sum())
    # Eight at least of an image, with the empty and the full coalition among them.
    for cells, expected in ((1, 2), (50, 56), (10_000, there)):
        found = iaside_onnx.verify(original, sample=cells)
        assert found.problems == []
        (looked,) = [line for line in found.checked if "evaluated again" in line]
        assert int(looked.split()[0]) == expected
        assert float(looked.split()[-2]) < 1e-3
        assert ("all that there are, of 10000 asked for" in looked) == (cells > there)


def test_which_worths_are_evaluated_again_cannot_be_known(
    original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever forges an archive leaves those as they are, and forges all others."""
    seen: set[tuple[int, ...]] = set()
    real = Evaluator.evaluate

    def spy(self: Evaluator, jobs: Sequence[Job], *args: Any) -> Any:
        seen.update(tuple(row.tolist()) for job in jobs for row in job.masks)
        return real(self, jobs, *args)

    monkeypatch.setattr(Evaluator, "evaluate", spy)
    for _ in range(4):
        iaside_onnx.verify(original, sample=64)
    # 32 images in all; were it the same worths each time, there would be 8 at most.
    assert len(seen) > 10


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("image_id", 3, "the names of the archive's images are not those"),
        ("predicted", 3, "is class"),
    ],
)
def test_what_the_images_and_the_model_say_is_compared(
    name: str, row: int, says: str, original: Path, tmp_path: Path
) -> None:
    """Names that are exchanged, or answers that the model never gave, with all else in order."""

    def change(file: Any) -> None:
        values = file[name][()]
        values[row] = b"zz" if name == "image_id" else (values[row] + 1) % 10
        file[name][...] = values
        file.attrs["accuracy"] = float((file["predicted"][()] == file["label"][()]).mean())

    path = edited(original, tmp_path, change, sign=True)
    assert iaside_onnx.verify(path).problems == []
    assert says in iaside_onnx.verify(path, sample=10_000).problems[0]


def test_worths_of_another_model_are_found(original: Path, tmp_path: Path) -> None:
    """Whoever forges an archive can sign it, and make its numbers add up, but not the model say it.

    Here a whole archive of another model says that it is of this one.
    """
    options: dict[str, Any] = {"limit": 20, "bands": 4, "baseline": "noise"}
    noisy, forged = CNN.with_name("fashion-cnn-noise.onnx"), tmp_path / "forged.h5"
    iaside_onnx.decompose(noisy, PICTURES, forged, **options)
    known = iaside_onnx.open_archive(original).metadata
    with h5py.File(forged, "r+") as file:
        file.attrs["model_sha256"] = known.model_sha256
        file.attrs["preprocess"] = json.dumps(dict(known.preprocess))
        options = json.loads(file.attrs["options"])
        for name in ("model_sha256", "preprocess"):
            options["resolved"][name] = json.loads(json.dumps(known.options["resolved"][name]))
        file.attrs["options"] = json.dumps(options)
        file.attrs["digest"] = digest_of(file)
    assert iaside_onnx.verify(forged).problems == []
    found = iaside_onnx.verify(forged, model=CNN, sample=40)
    assert any("worths are not what they were" in problem for problem in found.problems)


def test_another_model_or_image_is_named(original: Path, tmp_path: Path) -> None:
    """By their hashes, before anything is evaluated."""
    noisy = CNN.with_name("fashion-cnn-noise.onnx")
    outcome = in_process("verify", original, "--model", noisy)
    assert outcome.code == 1
    assert f"{noisy} is another model" in outcome.out
    with np.load(PICTURES) as bundled:
        arrays = dict(bundled)
    first = int(iaside_onnx.open_archive(original)["image"][0])
    arrays["images"][first, 0, 0] ^= 1
    np.savez(tmp_path / "other.npz", **arrays)
    found = iaside_onnx.verify(original, images=tmp_path / "other.npz")
    assert found.problems == [f"the image {first:03d} has changed since: its SHA-256 is another"]
    arrays["images"], arrays["labels"] = arrays["images"][:first], arrays["labels"][:first]
    np.savez(tmp_path / "fewer.npz", **arrays)
    found = iaside_onnx.verify(original, images=tmp_path / "fewer.npz")
    assert "holds other images than the archive" in found.problems[0]
    in_process("verify", original, "--sample", "0").fails("at least", code=2)


def test_intervals_about_these_images_are_worked_out_again(tmp_path: Path) -> None:
    """They take how many images there are, which no array of the archive says."""
    path = tmp_path / "a.h5"
    for words in ({}, {"method": "sampled", "budget": 400}):
        options: dict[str, Any] = {"limit": 40, "bands": 4, "inference": "sample", **words}
        iaside_onnx.decompose(CNN, PICTURES, path, overwrite=True, **options)
        assert iaside_onnx.verify(path).problems == []
        found = iaside_onnx.verify(edited(path, tmp_path, set_sis, sign=True))
        assert ["sis_high does not follow" in problem for problem in found.problems] == [True]


def test_numbers_that_no_design_has_are_named(tmp_path: Path) -> None:
    """An index that is out of bounds, somewhere in NumPy, is no answer."""

    def set_pairs(file: Any) -> None:
        file["pairs"][0] = 99

    path = tmp_path / "a.h5"
    iaside_onnx.decompose(CNN, PICTURES, path, limit=20, bands=4, method="sampled", budget=180)
    found = iaside_onnx.verify(edited(path, tmp_path, set_pairs, sign=True))
    assert ["its numbers do not fit" in problem for problem in found.problems] == [True]

"""A design that no room knows of goes through all of them: one module, and its registration."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iaside_onnx
from iaside_onnx import Archive
from iaside_onnx.analysis import check
from iaside_onnx.cli import iaside
from iaside_onnx.errors import ArchiveError, OptionError
from tests.game.single_permutation import SinglePermutationDesign, registered
from tests.runs.running import CNN, MODELS, PICTURES, bundled_pictures, run_command, run_script

BANDS = 4
# The whole image and the proper prefixes; the ends are known.
EACH = BANDS


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Twelve of thirty images, as the budget has it."""
    path = tmp_path_factory.mktemp("single") / "single.h5"
    with registered():
        return iaside_onnx.decompose(
            CNN, PICTURES, path, method="single", bands=BANDS, limit=30, budget=12 * EACH, seed=3
        )


@pytest.fixture
def copied(made: Archive, tmp_path: Path) -> Path:
    path = tmp_path / "copied.h5"
    path.write_bytes(made.path.read_bytes())
    return path


def test_it_is_an_archive_of_that_design(made: Archive) -> None:
    """Worths under the names of other coalitions, or contributions that do not follow from them."""
    assert made.recipe.method == "single"
    assert made["worth"].shape == made["coalition"].shape == (12, BANDS + 1)
    design = SinglePermutationDesign(BANDS, 3)
    for row, draw in enumerate(made.draws.tolist()):
        mask, worth = 0, made["worth"][row].astype(np.float64)
        phi = np.zeros(BANDS)
        for place, band in enumerate(design.permutation(draw).tolist()):
            mask |= 1 << band
            phi[band] = worth[place + 1] - worth[place]
            assert int(made["coalition"][row, place + 1]) == mask
        np.testing.assert_allclose(made["phi_image"][row], phi, rtol=0, atol=1e-12)
    np.testing.assert_allclose(made["phi"], made["phi_image"].mean(axis=0), rtol=0, atol=1e-12)
    assert made.metadata.sample is not None
    assert made.metadata.sample["evaluations"] == 12 * EACH


def test_its_worths_are_those_of_the_exact_design(made: Archive, tmp_path: Path) -> None:
    """Coalitions of one image evaluated on another."""
    whole = iaside_onnx.decompose(
        CNN, PICTURES, tmp_path / "exact.h5", method="exact", bands=BANDS, limit=30, seed=3
    )
    rows = np.searchsorted(whole["image"], made["image"])
    assert whole["image_sha256"][rows].tolist() == made["image_sha256"].tolist()
    wanted = whole["worth"][rows[:, None], made["coalition"].astype(np.int64)]
    np.testing.assert_allclose(made["worth"], wanted, rtol=0, atol=1e-5)


def test_verify_checks_it(made: Archive) -> None:
    """An archive that nobody can trust."""
    problems, checked = check(made.path)
    assert problems == []
    assert "arithmetic" in checked
    found = iaside_onnx.verify(made.path)
    assert (found.problems, found.checked) == ([], checked)
    found = iaside_onnx.verify(made.path, sample=20)
    assert found.problems == []
    assert "worths evaluated again" in found.checked[-1]


def test_verify_finds_what_is_wrong(copied: Path) -> None:
    """The check of a design that only this process knows does nothing."""
    import h5py

    from iaside_onnx.archive import digest_of

    with h5py.File(copied, "r+") as file:
        file["phi_image"][3, 1] += 1.0
        file.attrs["digest"] = digest_of(file)
    (problem,) = iaside_onnx.verify(copied).problems
    assert "phi_image does not follow from the worths for 1 of 12 images" in problem
    with h5py.File(copied, "r+") as file:
        file["coalition"][3, 1] ^= 3
        file.attrs["digest"] = digest_of(file)
    (problem,) = iaside_onnx.verify(copied).problems
    assert "are not those that follow from the seed" in problem


def test_a_process_that_does_not_know_it_says_so(copied: Path, tmp_path: Path) -> None:
    """Numbers that do not fit, an index out of bounds, or wrong usage: none of it is so."""
    found = run_command("verify", copied, folder=tmp_path)
    assert found.code == 1
    assert "this version of iaside does not know the method 'single'" in found.out
    assert "upgrade" in found.out
    assert run_command("show", copied, folder=tmp_path).code == 0
    output = tmp_path / "copied.csv"
    assert run_command("convert", copied, "-o", output, folder=tmp_path).code == 0
    found = run_command("extend", copied, "--budget", "9999", folder=tmp_path)
    assert found.code == 1
    assert "unknown method 'single'" in found.err
    found = run_command("merge", copied, copied, "-o", tmp_path / "m.h5", folder=tmp_path)
    assert found.code == 1
    assert "does not know the method 'single'" in found.err


def test_extend_goes_on_with_it(copied: Path, tmp_path: Path) -> None:
    """A longer run and an extended one differ."""
    extended = iaside_onnx.extend(copied, budget=25 * EACH)
    longer = iaside_onnx.decompose(
        CNN, PICTURES, tmp_path / "longer.h5",
        method="single", bands=BANDS, limit=30, budget=25 * EACH, seed=3,
    )  # fmt: skip
    assert extended["image"].size == 25
    assert extended["image"].tolist() == longer["image"].tolist()
    np.testing.assert_array_equal(extended["coalition"], longer["coalition"])
    np.testing.assert_allclose(extended["worth"], longer["worth"], rtol=0, atol=1e-5)
    assert check(copied)[0] == []


def test_a_target_ends_it(tmp_path: Path) -> None:
    """A run that never looks at its precision."""
    found = iaside_onnx.decompose(
        CNN, PICTURES, tmp_path / "target.h5",
        method="single", bands=BANDS, limit=200, target_se=2.0,
    )  # fmt: skip
    assert found["image"].size < 200
    assert found["phi_se"].max() <= 2.0


def test_merge_puts_two_together(tmp_path: Path) -> None:
    """A mean over one of the parts, or images of one part under coalitions of the other."""
    parts = []
    for name, start in (("a", 0), ("b", 8)):
        source = bundled_pictures(tmp_path / f"{name}.npz", start, start + 8)
        output = tmp_path / f"{name}.h5"
        iaside_onnx.decompose(CNN, source, output, method="single", bands=BANDS)
        parts.append(output)
    merged = iaside_onnx.merge(parts, tmp_path / "merged.h5")
    both = np.concatenate([iaside_onnx.open_archive(part)["phi_image"] for part in parts])
    np.testing.assert_array_equal(merged["phi_image"], both)
    np.testing.assert_allclose(merged["phi"], both.mean(axis=0), rtol=0, atol=1e-12)
    assert check(merged.path)[0] == []


@pytest.mark.parametrize(
    ("baseline", "pixel_range"),
    [
        ("complement", "minmax"),
        *(pytest.param(*game, marks=pytest.mark.slow)
          for game in product(("mean", "noise", "complement"), ("clip", "minmax"))),
    ],
)  # fmt: skip
def test_every_game_is_played(baseline: Any, pixel_range: Any, tmp_path: Path) -> None:
    """A full slot at the end of the row, or an empty one, that is taken from another place."""
    found = iaside_onnx.decompose(
        CNN, PICTURES, tmp_path / "a.h5",
        method="single", bands=3, limit=6, baseline=baseline, pixel_range=pixel_range,
    )  # fmt: skip
    assert check(found.path)[0] == []
    assert iaside_onnx.verify(found.path, sample=20).problems == []


def test_show_and_convert_print_it(
    made: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that only two designs have."""
    for words in (["show", str(made.path)], ["show", "--json", str(made.path)]):
        iaside.main(words, standalone_mode=False)
    printed = capsys.readouterr().out
    assert "SIS" in printed
    assert "48 evaluations" in printed
    for suffix in ("csv", "json", "nc"):
        for table in ("contributions", "bands", "worth"):
            output = tmp_path / f"{table}.{suffix}"
            iaside_onnx.convert(iaside_onnx.open_archive(made.path), output, table)
            assert output.stat().st_size > 100
    lines = (tmp_path / "worth.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 12 * (BANDS + 1)


def test_the_command_line_takes_it(tmp_path: Path) -> None:
    """`--method` knows the designs that there were when it was imported; others are refused."""
    script = (
        "from tests.game.single_permutation import registered\n"
        "with registered():\n"
        "    from iaside_onnx.cli import main\n"
        "    main()\n"
    )
    words = ("decompose", str(CNN), "--images", str(PICTURES), "--bands", "3", "--limit", "5")
    done = run_script(script, tmp_path, *words, "-o", "a.h5", "--method", "single")
    assert done.code == 0, done.err
    assert iaside_onnx.open_archive(tmp_path / "a.h5").recipe.method == "single"


def test_workers_that_do_not_know_it_say_so(tmp_path: Path) -> None:
    """A run that hangs, or workers that are started again and again."""
    with pytest.raises(OptionError, match="unknown method 'single'"):
        iaside_onnx.decompose(
            CNN, PICTURES, tmp_path / "a.h5", method="single", bands=3, limit=5, workers=2
        )
    done = iaside_onnx.decompose(
        CNN, PICTURES, tmp_path / "a.h5", method="single", bands=3, limit=5, threads=1,
        overwrite=True,
    )  # fmt: skip
    assert done["image"].size == 5


def test_limits_are_those_of_its_passes(tmp_path: Path) -> None:
    """A budget below one image."""
    model = MODELS / "fashion-vit.onnx"
    words: dict[str, Any] = {"method": "single", "bands": 3, "limit": 4}
    with pytest.raises(OptionError, match="less than one block: 1 images at 3 evaluations"):
        iaside_onnx.decompose(model, PICTURES, tmp_path / "a.h5", budget=2, **words)
    iaside_onnx.decompose(model, PICTURES, tmp_path / "a.h5", budget=3, **words)
    exact = iaside_onnx.decompose(model, PICTURES, tmp_path / "e.h5", bands=3, limit=4)
    with pytest.raises(ArchiveError, match="every coalition"):
        iaside_onnx.extend(exact.path, budget=10)

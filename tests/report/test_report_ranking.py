"""What a page says of several models: it ranks only what can be, as far as that is certain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import stats

import iaside_onnx
from iaside_onnx import Archive, open_archive
from iaside_onnx.analysis import comparison
from iaside_onnx.errors import OptionError
from iaside_onnx.report import pairs
from tests.support.command import CNN, MODELS, PICTURES
from tests.support.pages import Page, copies, edited, page_of, shown

PGD = MODELS / "fashion-cnn-pgd.onnx"


def lead(page: Page, folder: Path) -> str:
    """The answer of a page, whose file is `a.html`."""
    text = (folder / "a.html").read_text(encoding="utf-8")
    (found,) = re.findall(r'<p class="lead">(.*?)</p>', text, re.DOTALL)
    assert re.sub("<[^>]*>", "", found) in page.text
    return re.sub("<[^>]*>", "", found).replace("\u00a0", " ")


def with_recipe(archive: Archive, path: Path, **values: Any) -> Archive:
    """The archive with other options, at another path."""
    options = archive.metadata.options
    resolved = {**options["resolved"], **values}
    return moved(archive, path, {}, options={**options, "resolved": resolved})


def moved(archive: Archive, path: Path, values: dict[str, Any], **metadata: Any) -> Archive:
    """The archive with other values, at another path."""
    found = edited(archive, values, **metadata)
    all_values = {name: found[name] for name in found.names}
    return Archive(path, found.schema, found.metadata, all_values, frozenset())


def answers(archive: Archive, right: int) -> dict[str, Any]:
    """Answers of which the first so many are right."""
    label = archive["label"]
    return {"predicted": np.where(np.arange(label.size) < right, label, (label + 1) % 10)}


def test_models_of_other_images_are_not_ranked(bundled_archive: Archive, tmp_path: Path) -> None:
    """A model would be called better because its images were easier."""
    fewer = iaside_onnx.decompose(PGD, PICTURES, tmp_path / "b.h5", bands=6, limit=5)
    said = lead(page_of([bundled_archive, fewer], tmp_path), tmp_path)
    assert "cannot be ranked" in said
    assert "(12 and 5, of which 5 are the same)" in said
    assert "most" not in said
    shas = np.array([f"{i:064x}" for i in range(12)], dtype=object)
    other = moved(bundled_archive, tmp_path / "c.h5", {"image_sha256": shas})
    page = page_of([bundled_archive, other], tmp_path)
    assert "have no image in common" in lead(page, tmp_path)
    (overview,) = (rows for caption, rows in page.tables.items() if "in short" in caption)
    assert overview[0][1] == "images"
    assert [row[1] for row in overview[1:]] == ["12", "12"]


def test_models_of_other_labels_or_games_are_not_ranked(
    bundled_archive: Archive, pgd: Archive, tmp_path: Path
) -> None:
    """Accuracy against one list of labels would be ranked above that against another."""
    labels = {"label": (pgd["label"] + 1) % 10}
    said = lead(
        page_of([bundled_archive, moved(pgd, tmp_path / "b.h5", labels)], tmp_path), tmp_path
    )
    assert "have other labels for the same images" in said
    for field, value, word in (
        ("labels", "predicted", "labels"),
        ("pixel_range", "clip", "pixel"),
    ):
        assert getattr(pgd.recipe, field) != value
        other = with_recipe(pgd, tmp_path / "c.h5", **{field: value})
        said = lead(page_of([bundled_archive, other], tmp_path), tmp_path)
        assert "cannot be ranked" in said
        assert word in said.split("differ in")[1]


def test_an_uncertain_ranking_says_so_in_its_sentence(
    bundled_archive: Archive, pgd: Archive, tmp_path: Path
) -> None:
    """The first sentence is what is quoted; a difference of two images would pass for a fact."""
    first = moved(bundled_archive, tmp_path / "b.h5", answers(bundled_archive, 7))
    second = moved(pgd, tmp_path / "c.h5", answers(pgd, 6))
    said = lead(page_of([first, second], tmp_path), tmp_path)
    assert said.startswith(
        "Which is more accurate is not certain: fashion-cnn 58.3 % or fashion-cnn-pgd 50.0 %."
    )
    # Twelve against none: certain, in both orders.
    best = moved(pgd, tmp_path / "d.h5", answers(pgd, 12))
    worst = moved(bundled_archive, tmp_path / "e.h5", answers(bundled_archive, 0))
    for order in ([best, worst], [worst, best]):
        said = lead(page_of(order, tmp_path), tmp_path)
        assert said.startswith("fashion-cnn-pgd is the most accurate (100.0 %).")
    # Equal numbers of right images: equal only where they are the same images.
    same = moved(bundled_archive, tmp_path / "f.h5", answers(bundled_archive, 6))
    said = lead(page_of([second, same], tmp_path), tmp_path)
    assert "get the same images right (50.0 %)." in said
    swapped = {"predicted": (answers(pgd, 6)["predicted"] + 1) % 10}
    swapped["predicted"][6:] = pgd["label"][6:]
    swapped["predicted"][:6] = (pgd["label"][:6] + 1) % 10
    other = moved(bundled_archive, tmp_path / "g.h5", swapped)
    said = lead(page_of([second, other], tmp_path), tmp_path)
    assert "not certain: fashion-cnn-pgd 50.0 % or fashion-cnn 50.0 %" in said


def test_equal_scores_are_not_put_in_an_order(bundled_archive: Archive, tmp_path: Path) -> None:
    """Of two runs of one model, one would lean more on low bands."""
    for many in (2, 3):
        said = lead(page_of(copies(bundled_archive, tmp_path, many), tmp_path), tmp_path)
        assert "All have the same SIS (" in said
        assert "leans" not in said


def test_a_high_score_may_be_that_of_high_bands(table: Archive, tmp_path: Path) -> None:
    """The score takes an absolute value; a model would be said to lean on bands that it ignores."""
    robust = iaside_onnx.decompose(PGD, PICTURES, tmp_path / "pgd.h5", bands=6, limit=40)
    turned = [
        moved(one, tmp_path / f"{number}.h5", {"psi": one["psi"][::-1].copy()})
        for number, one in enumerate((table, robust))
    ]
    said = lead(page_of(turned, tmp_path), tmp_path)
    assert "low bands" not in said
    assert "fashion-cnn-pgd has the highest SIS (" in said


def test_the_ends_of_the_order_are_certain_or_said_not_to_be(
    table: Archive, tmp_path: Path
) -> None:
    """Who leans most may be certain while who leans least is not, and the other way round."""
    robust = iaside_onnx.decompose(PGD, PICTURES, tmp_path / "pgd.h5", bands=6, limit=40)
    pair = iaside_onnx.compare(table, robust, *copies(table, tmp_path, 1)).pairs[0]
    assert pair.game.sis_low > 0, "the difference must be certain here"
    for first, many, end, open_end in (
        (robust, table, "most", "least"), (table, robust, "least", "most")
    ):  # fmt: skip
        (other,) = copies(many, tmp_path, 1)
        for order in ([many, first, other], [first, other, many]):
            said = lead(page_of(order, tmp_path), tmp_path)
            name = f"{Path(first.metadata.model_name).stem} ({first.path.name})"
            assert f"{name} leans {end} on the low bands" in said
            assert f"which leans {open_end} is not certain" in said
    said = lead(page_of([table, robust], tmp_path), tmp_path)
    assert "fashion-cnn-pgd leans most on the low bands" in said
    assert re.search(r"fashion-cnn least \([0-9.]+ \[", said)


def test_an_archive_given_twice_is_refused(bundled_archive: Archive, tmp_path: Path) -> None:
    """Two letters would stand for one file, and differences be shown under the wrong one."""
    (tmp_path / "link.h5").symlink_to(bundled_archive.path)
    for again in (bundled_archive, open_archive(tmp_path / "link.h5")):
        with pytest.raises(OptionError, match="given more than once"):
            page_of([bundled_archive, again], tmp_path)


def test_a_comparison_needs_two_archives_of_one_baseline(
    bundled_archive: Archive, tmp_path: Path
) -> None:
    """The section would be a heading over nothing."""
    other = iaside_onnx.decompose(
        CNN, PICTURES, tmp_path / "b.h5", bands=6, limit=12, baseline="mean"
    )
    page = page_of([bundled_archive, other], tmp_path)
    assert "comparison" not in [attributes.get("id") for attributes in page.all("section")]
    said = lead(page, tmp_path)
    assert "No two archives have a SIS with the same baseline" in said


def test_the_comparison_has_its_numbers(
    bundled_archive: Archive, pgd: Archive, tmp_path: Path
) -> None:
    """Who cannot see the chart, or wants McNemar's test, has them nowhere else."""
    page = page_of([bundled_archive, pgd], tmp_path)
    pair = iaside_onnx.compare(bundled_archive, pgd).pairs[0]
    for name, unit in (("phi", ", nats"), ("psi", "")):
        rows = page.tables[f"{name} minus that of A fashion-cnn{unit}; all intervals hold together"]
        assert rows[0] == ["band", "radius", "B fashion-cnn-pgd"]
        for band in range(6):
            value, low, high = (
                float(getattr(pair.game, f"{name}{end}")[band]) for end in ("", "_low", "_high")
            )
            assert rows[band + 1][2] == f"{shown(value)} [{shown(low)}, {shown(high)}]"
    (rows,) = (rows for caption, rows in page.tables.items() if caption.startswith("Minus A"))
    cells = dict(zip(rows[0], rows[1], strict=True))
    with h5py.File(bundled_archive.path) as ours, h5py.File(pgd.path) as theirs:
        scores = [file["log_probability_whole"][()].astype(float) for file in (ours, theirs)]
        right = [file["predicted"][()] == file["label"][()] for file in (ours, theirs)]
    error = float(np.abs(scores[1] - scores[0]).mean())
    assert cells["error of log p, nats"].startswith(shown(error))
    gained, lost = (right[1] & ~right[0]).sum(), (right[0] & ~right[1]).sum()
    exact = stats.binomtest(int(gained), int(gained + lost)).pvalue if gained + lost else 1.0
    assert cells["p, McNemar"] == shown(float(exact))


def test_what_else_differs_is_said(
    bundled_archive: Archive, sampled: Archive, tmp_path: Path
) -> None:
    """A difference of runtime or method would pass for one of models."""
    assert bundled_archive.recipe.method != sampled.recipe.method
    page = page_of([bundled_archive, sampled], tmp_path)
    (said,) = re.findall(r"The two differ also in ([^.]+)\.", page.text)
    assert "method" in said


def test_no_pair_is_computed_twice(
    bundled_archive: Archive, pgd: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 64 bands each takes long, and a page of five models would take it three times over."""
    seen: list[frozenset[Path]] = []
    original = comparison.compare_pair

    def counted(reference: Archive, archive: Archive, *rest: Any) -> Any:
        seen.append(frozenset((reference.path, archive.path)))
        return original(reference, archive, *rest)

    for module in (comparison, pairs):
        monkeypatch.setattr(module, "compare_pair", counted)
    page_of([bundled_archive, pgd, *copies(pgd, tmp_path, 2)], tmp_path)
    assert len(seen) == len(set(seen))
    assert len(seen) >= 3


def test_the_caution_is_on_the_page_of_several(
    bundled_archive: Archive, pgd: Archive, tmp_path: Path
) -> None:
    """Who compares with a model of another page does not read the glossary first."""
    page = page_of([bundled_archive, pgd], tmp_path)
    before, _, _ = page.text.partition("How it was found")
    assert "same bands, baseline, labels and images" in before

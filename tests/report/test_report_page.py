"""The page: the archive's numbers, nothing loaded from elsewhere, nothing unescaped."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx import Archive, open_archive, write_report
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.report import interval_text
from iaside_onnx.report.chart import Bars, draw
from tests.support.command import CNN, MODELS, PICTURES
from tests.support.pages import check_safe, copies, edited, page_of, shown


def with_bounds(archive: Archive, name: str, band: int) -> str:
    value, low, high = (archive[f"{name}{end}"][band] for end in ("", "_low", "_high"))
    return f"{shown(value)} [{shown(low)}, {shown(high)}]"


def test_a_page_of_one_model_holds_the_numbers(bundled_archive: Archive, tmp_path: Path) -> None:
    """People quote the page; a number that is not that of the archive is a false result."""
    page = page_of(bundled_archive, tmp_path)
    rows = page.tables["Bands, with 95 % intervals"]
    assert rows[0] == ["band", "radius", "phi, nats", "psi"]
    for band in range(6):
        low, high = bundled_archive["band_low"][band], bundled_archive["band_high"][band]
        assert rows[band + 1] == [
            str(band),
            f"{low:.3f} to {high:.3f}",
            with_bounds(bundled_archive, "phi", band),
            with_bounds(bundled_archive, "psi", band),
        ]
    for name in ("phi", "psi"):
        titles = page.bars[f"chart-{name}-t"]
        for band in range(6):
            value, low, high = (
                float(bundled_archive[f"{name}{end}"][band]) for end in ("", "_low", "_high")
            )
            unit = " nats" if name == "phi" else ""
            wanted = f"band {band}: {shown(value)}{unit} [{shown(low)}, {shown(high)}]"
            assert titles[band] == wanted
    right = (bundled_archive["predicted"] == bundled_archive["label"]).mean()
    assert f"{shown(100 * right, 1)}\u00a0%" in page.text
    for text in (bundled_archive.metadata.model_sha256, bundled_archive.metadata.digest):
        assert str(text) in page.text
    assert "iaside verify bundled.h5" in page.text


def test_the_page_runs_and_loads_nothing(bundled_archive: Archive, tmp_path: Path) -> None:
    """A page that loads something breaks offline, and tells a server who reads it."""
    page = page_of(bundled_archive, tmp_path, images=PICTURES)
    check_safe(page, (tmp_path / "a.html").read_text(encoding="utf-8"))


def test_bars_are_as_high_as_the_values(bundled_archive: Archive, tmp_path: Path) -> None:
    """A chart out of scale, or a band that hurts and seems to help, misleads at a glance."""
    write_report(bundled_archive, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    for name in ("phi", "psi"):
        (chart,) = re.findall(rf'<svg class="plot[^>]*chart-{name}-t.*?</svg>', text, re.DOTALL)
        (zero,) = map(float, re.findall(r'class="zero"[^>]* y1="([0-9.]+)"', chart))
        bars = re.findall(
            r'<rect class="hit"[^>]*/><rect x="[^"]*" y="([0-9.]+)" width="[^"]*" '
            r'height="([0-9.]+)"',
            chart,
        )
        tops, heights = np.array(bars, dtype=float).T
        # Pixels above zero, below zero for what hurts.
        signed = np.where(tops < zero - 0.05, heights, -heights)
        values = bundled_archive[name]
        np.testing.assert_allclose(
            signed / np.abs(signed).max(), values / np.abs(values).max(), atol=2e-3
        )
        ends = re.findall(r'<line x1="[^"]*" x2="[^"]*" y1="([0-9.]+)" y2="([0-9.]+)"/>', chart)
        low, high = bundled_archive[f"{name}_low"], bundled_archive[f"{name}_high"]
        lengths = np.array([float(y2) - float(y1) for y1, y2 in ends])
        scale = np.abs(signed).max() / np.abs(values).max()
        np.testing.assert_allclose(lengths, (high - low) * scale, atol=0.15)


@pytest.mark.parametrize("values", [[30.06, -3.0, 1.0], [1.0, -8.7], [0.71, 0.2], [1e300, 1.0]])
def test_the_axis_reaches_beyond_the_largest_bar(values: list[float]) -> None:
    """How high the bar is that matters most could only be guessed."""
    heights = np.array(values)
    chart = draw("x", "x", "", "", [Bars(0, "", "x", heights, heights - 0.01, heights + 0.01)])
    ticks = [
        float(text.replace("\N{MINUS SIGN}", "-"))
        for text in re.findall(r">([^<>]+)</text>", chart.axis)
    ]
    largest = max(np.clip(heights, -1e12, 1e12), key=abs)
    assert 0 in ticks
    assert (max(ticks) if largest > 0 else -min(ticks)) >= abs(largest)
    assert 3 <= len(ticks) <= 8
    places = [float(y) for y in re.findall(r'<text[^>]* y="([0-9.]+)"', chart.axis)]
    # The area of the bars: 10 pixels from the top, 240 high; text stands 4 lower.
    assert all(13.9 <= y <= 254.1 for y in places)


def test_a_page_of_several_models_is_folded(
    bundled_archive: Archive, pgd: Archive, tmp_path: Path
) -> None:
    """A page of five models would be ten screens of digests; one model hides nothing."""
    page = page_of([bundled_archive, pgd], tmp_path)
    assert page.text.count("Digest, model, options and notes") == 2
    page = page_of(bundled_archive, tmp_path)
    assert page.all("details") == []
    # The score stands among the facts, and is not said again as if it were a caution.
    assert page.text.count(f"[{shown(float(bundled_archive['sis_low']))}, ") == 1


def test_several_models_stand_beside_each_other(
    bundled_archive: Archive, pgd: Archive, tmp_path: Path
) -> None:
    """Bars under the wrong letter give one model the robustness of another."""
    page = page_of([bundled_archive, pgd], tmp_path)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    check_safe(page, text)
    for name, caption in (
        ("phi", "phi, contribution in nats, with 95 % intervals"),
        ("psi", "psi, share of the contributions, with 95 % intervals"),
    ):
        rows = page.tables[caption]
        assert rows[0] == ["band", "radius", "A fashion-cnn", "B fashion-cnn-pgd"]
        for band in range(6):
            wanted = [with_bounds(archive, name, band) for archive in (bundled_archive, pgd)]
            assert rows[band + 1][2:] == wanted
        titles = page.bars[f"chart-{name}-t"]
        assert [title.split(",")[0] for title in titles] == (
            ["A fashion-cnn"] * 6 + ["B fashion-cnn-pgd"] * 6
        )
    (overview,) = (rows for caption, rows in page.tables.items() if "in short" in caption)
    assert [row[0] for row in overview[1:]] == ["A fashion-cnn", "B fashion-cnn-pgd"]
    compared = iaside_onnx.compare(bundled_archive, pgd).pairs[0]
    (differences,) = (rows for caption, rows in page.tables.items() if "Minus A" in caption)
    assert differences[1][6].startswith(shown(compared.game.sis))
    assert "Each model minus fashion-cnn, over the images that both saw" in page.text
    assert "depends on the baseline" in page.text


def test_classes_are_counted_by_name(table: Archive, tmp_path: Path) -> None:
    """The class that is said to be fragile would be another."""
    names = json.loads((MODELS / "class_names.json").read_text(encoding="utf-8"))
    page = page_of(table, tmp_path, classes=MODELS / "class_names.json")
    (rows,) = (rows for caption, rows in page.tables.items() if "most fragile" in caption)
    label, answer = table["label"], table["predicted"]
    assert {row[0] for row in rows[1:]} == {f"{i} {names[i]}" for i in np.unique(label)}
    for row in rows[1:]:
        chosen = label == int(row[0].split()[0])
        # All have fewer than 50 images.
        assert row[1] == f"{chosen.sum()}*"
        assert row[2].split()[0] == shown(100 * (answer[chosen] == label[chosen]).mean(), 1)
        assert row[4] == shown(float(table["log_probability_whole"][chosen].mean(dtype=float)))
        wrong = answer[chosen & (answer != label)]
        if wrong.size:
            top = np.bincount(wrong).argmax()
            assert row[5].startswith(f"{top} {names[top]}: {(wrong == top).sum()}")
        else:
            assert row[5] == "nothing else"


def test_pairs_of_bands_are_in_their_cells(
    bundled_archive: Archive, sampled: Archive, tmp_path: Path
) -> None:
    """Two bands that need each other would seem to hurt each other."""
    page = page_of([bundled_archive, sampled], tmp_path)
    found = [rows for caption, rows in page.tables.items() if "interactions" in caption]
    assert len(found) == 1
    assert "was not evaluated" in page.text
    computed = iaside_onnx.interactions(bundled_archive)
    shades = [a["class"] for a in page.all("td") if re.match("up|down", a.get("class") or "")]
    place = 0
    for i in range(6):
        assert found[0][i + 1][0] == str(i)
        for j in range(6):
            cell = found[0][i + 1][j + 1]
            if i == j:
                assert cell == ""
                continue
            value, low, high = (
                float(part[i, j]) for part in (computed.values, computed.low, computed.high)
            )
            assert cell.strip("()") == shown(value, 2).replace("\u22120.00", "0.00")
            assert cell.startswith("(") == (low <= 0 <= high)
            assert str(shades[place]).startswith("up" if value > 0 else "down")
            place += 1


def test_two_baselines_are_ranked_apart(
    bundled_archive: Archive, pgd: Archive, tmp_path: Path
) -> None:
    """A score with one baseline would be ranked against one with another."""
    others = [
        iaside_onnx.decompose(
            MODELS / model, PICTURES, tmp_path / f"{model}.h5", bands=6, limit=12, baseline="mean"
        )
        for model in ("fashion-cnn.onnx", "fashion-cnn-pgd.onnx")
    ]
    page = page_of([bundled_archive, pgd, *others], tmp_path)
    assert "With the baseline zero" in page.text
    assert "With the baseline mean" in page.text
    for archive in (bundled_archive, pgd, *others):
        name = f"{Path(archive.metadata.model_name).stem} ({archive.recipe.baseline})"
        assert name in page.text
    # One model is not as accurate as itself.
    assert "equally accurate" not in page.text


def test_many_models_have_a_chart_each(pgd: Archive, tmp_path: Path) -> None:
    """Colours repeat, and two models could not be told apart."""
    page = page_of(copies(pgd, tmp_path, 7), tmp_path)
    assert "chart-phi-t" not in page.bars
    assert len([name for name in page.bars if name.startswith("chart-own")]) == 7
    assert "G fashion-cnn-pgd" in page.text


def test_a_page_of_five_models_is_small(pgd: Archive, tmp_path: Path) -> None:
    """A page that cannot be sent by mail is read by nobody."""
    page_of(copies(pgd, tmp_path, 5), tmp_path, images=PICTURES)
    assert (tmp_path / "a.html").stat().st_size < 300_000


def test_a_sample_is_a_page_too(sampled: Archive, tmp_path: Path) -> None:
    """What was sampled could not be shown."""
    page = page_of(sampled, tmp_path)
    rows = page.tables["Bands, with 95 % intervals"]
    assert [row[2] for row in rows[1:]] == [with_bounds(sampled, "phi", b) for b in range(6)]


def test_one_image_has_no_interval_and_says_so(tmp_path: Path) -> None:
    """NaN bounds would show as numbers, break the chart, or pass for certainty."""
    archive = iaside_onnx.decompose(CNN, PICTURES, tmp_path / "a.h5", bands=3, limit=1)
    page = page_of(archive, tmp_path)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.search(r"\b(nan|inf)\b", page.text.lower())
    assert "nothing here is certain" in page.text
    assert "[undefined]" in page.tables["Bands, with 95 % intervals"][1][2]
    (chart,) = re.findall(r'<svg class="plot[^>]*chart-phi-t.*?</svg>', text, re.DOTALL)
    assert '<line x1="' not in chart.replace('class="', "")


def test_other_bands_cannot_be_on_one_page(
    bundled_archive: Archive, tmp_path: Path, sampled: Archive
) -> None:
    """Band 1 of one archive would stand beside another band 1."""
    other = iaside_onnx.decompose(CNN, PICTURES, tmp_path / "a.h5", bands=3, limit=2)
    with pytest.raises(OptionError, match=r"differ in bands \(6 and 3\)"):
        write_report([bundled_archive, other], tmp_path / "a.html")
    with pytest.raises(OptionError, match="at least one archive"):
        write_report([], tmp_path / "a.html")
    # Other images and another design are no reason.
    page_of([bundled_archive, sampled], tmp_path)


def test_a_page_of_others_is_not_replaced(bundled_archive: Archive, tmp_path: Path) -> None:
    """demo.html may be somebody's own; our own page is made anew."""
    (tmp_path / "a.html").write_text("mine")
    with pytest.raises(ArchiveError, match="not made by iaside"):
        write_report(bundled_archive, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == "mine"
    write_report(bundled_archive, tmp_path / "b.html")
    write_report(bundled_archive, tmp_path / "b.html")
    with pytest.raises(OptionError, match=r"end its name in \.html"):
        write_report(bundled_archive, bundled_archive.path)
    assert open_archive(bundled_archive.path).bands == 6


def test_the_worst_images_are_named(table: Archive, tmp_path: Path) -> None:
    """Somebody looks at the images named, and they would be others."""
    (rows,) = (
        rows for caption, rows in page_of(table, tmp_path).tables.items() if "worst" in caption
    )
    with h5py.File(table.path) as file:
        scores = file["log_probability_whole"][()]
        names = [name.decode() for name in file["image_id"][()]]
        labels, answers = file["label"][()], file["predicted"][()]
    worst = sorted(range(40), key=lambda row: scores[row])[:10]
    assert [row[0] for row in rows[1:]] == [names[i] for i in worst]
    assert [row[1:4] for row in rows[1:]] == [
        [str(labels[i]), str(answers[i]), shown(scores[i])] for i in worst
    ]


def test_headings_are_in_order_and_sections_are_named(
    bundled_archive: Archive, pgd: Archive, tmp_path: Path
) -> None:
    """Who hears the page finds the way by its headings."""
    page = page_of([bundled_archive, pgd], tmp_path, images=PICTURES)
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for key in ("aria-labelledby", "href"):
            for name in (attributes.get(key) or "").split():
                assert name.removeprefix("#") in ids
    assert page.all("html")[0]["lang"] == "en"
    assert all(attributes.get("scope") for attributes in page.all("th"))
    assert all(attributes.get("alt") for attributes in page.all("img"))


def luminance(color: str) -> float:
    """Relative luminance of a colour as WCAG 2.1 defines it."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(first: str, second: str) -> float:
    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


def test_colours_have_contrast_in_light_and_dark(bundled_archive: Archive, tmp_path: Path) -> None:
    """Text that fades into the page, or two models whose bars look the same."""
    write_report(bundled_archive, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    schemes = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        color = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", scheme))
        for name in ("ink", "soft", "link"):
            assert contrast(color[name], color["paper"]) >= 4.5, name
        assert contrast(color["ink"], color["panel"]) >= 4.5
        assert contrast(color["warn"], color["warn-panel"]) >= 4.5
        for i in range(6):
            assert contrast(color[f"c{i}"], color["paper"]) >= 3, i
        paper = np.array([int(color["paper"][i : i + 2], 16) for i in (1, 3, 5)])
        for name, share in re.findall(r"rgb\(var\(--(up|down)\) / ([.0-9]+)\)", text):
            (tint,) = re.findall(rf"--{name}: ([0-9 ]+);", scheme)
            mixed = paper + float(share) * (np.array(tint.split(), dtype=int) - paper)
            cell = "#" + "".join(f"{round(part):02x}" for part in mixed.tolist())
            assert contrast(color["ink"], cell) >= 4.5, (name, share)


@pytest.mark.parametrize(("low", "high"), [(0.1777, 0.1904), (-1.0, 2.0)])
def test_interval_text_is_rounded_to_three_places(
    low: float, high: float, bundled_archive: Archive
) -> None:
    """The text is what people quote."""
    values = {name: np.array(value) for name, value in zip(
        ("sis", "sis_low", "sis_high"), (0.18449, low, high), strict=True
    )}  # fmt: skip
    assert interval_text(edited(bundled_archive, values), "sis") == f"0.184 [{low:.3f}, {high:.3f}]"

"""The page in a real browser: nothing is requested, nothing is cut off, and everyone can read it.

Needs Playwright, Chromium, and for one test axe-core, whose file IASIDE_AXE names; see `.ci/run`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iaside_onnx
from iaside_onnx import Archive, write_report
from tests.support.command import MODELS, PICTURES
from tests.support.pages import copies

pytestmark = pytest.mark.browser

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = os.environ.get("IASIDE_AXE")
SIZES = [(360, 740), (800, 1000), (1400, 900)]
SCHEMES = ["light", "dark"]
MODEL_NAMES = [
    "fashion-cnn", "fashion-cnn-pgd", "fashion-cnn-noise", "fashion-vit", "fashion-cnn-keras",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium of the system, without a window."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        # Tests run as root in containers, where Chromium has no sandbox.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def hostile(archive: Archive, folder: Path) -> Archive:
    """The same with names as long and as strange as they come."""
    values = {name: archive[name] for name in archive.names}
    values["image_id"] = np.array(["w" * 4000] * archive["image"].size, dtype=object)
    values["phi"] = archive["phi"] * 1e300
    path = folder / ("f" * 200 + ".h5")
    return Archive(path, archive.schema, archive.metadata, values, frozenset())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of one model, of five, of seven, of one image, and with hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    archives = [
        iaside_onnx.decompose(
            MODELS / f"{name}.onnx", PICTURES, folder / f"{name}.h5", bands=6, limit=20
        )
        for name in MODEL_NAMES
    ]
    single = iaside_onnx.decompose(
        MODELS / "fashion-cnn.onnx", PICTURES, folder / "single.h5", bands=3, limit=1
    )
    write_report(archives[0], folder / "one.html", images=PICTURES)
    write_report(archives, folder / "five.html", images=PICTURES)
    write_report([*archives, *copies(archives[0], folder, 2)], folder / "seven.html")
    write_report(single, folder / "single.html")
    write_report([hostile(archives[0], folder), archives[1]], folder / "hostile.html")
    return {path.stem: path for path in folder.glob("*.html")}


NAMES = ["one", "five", "seven", "single", "hostile"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_is_requested_said_or_cut_off(
    scheme: str, name: str, browser: Any, pages: dict[str, Path]
) -> None:
    """A page that phones home, that its own policy breaks, or that is wider than the screen."""
    for width, height in SIZES:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        tab = context.new_page()
        said: list[str] = []
        asked: list[str] = []
        tab.on("console", lambda message, said=said: said.append(message.text))
        tab.on("pageerror", lambda error, said=said: said.append(str(error)))
        tab.on("request", lambda request, asked=asked: asked.append(request.url))
        tab.goto(pages[name].as_uri())
        tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        root = "document.documentElement"
        assert tab.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), width
        assert said == []
        assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]
        # The policy lets the style sheet through.
        assert tab.evaluate("getComputedStyle(document.querySelector('.frame')).display") == "flex"
        assert tab.evaluate("[...document.images].every(one => one.naturalWidth > 0)")
        context.close()


@pytest.mark.parametrize("width", [360, 1400])
def test_text_in_charts_can_be_read(width: int, browser: Any, pages: dict[str, Path]) -> None:
    """A chart that is scaled to a telephone has letters of four pixels, one over the other."""
    tab = browser.new_page(viewport={"width": width, "height": 800})
    tab.goto(pages["five"].as_uri())
    heights = tab.evaluate(
        "[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect().height)"
    )
    assert min(heights) >= 11
    overlapping = tab.evaluate(
        """[...document.querySelectorAll('svg.plot')].flatMap(plot => {
            const boxes = [...plot.querySelectorAll('text')].map(t => t.getBoundingClientRect());
            return boxes.filter((a, i) => boxes.slice(i + 1).some(b =>
                a.left < b.right && b.left < a.right && a.top + 3 < b.bottom && b.top + 3 < a.bottom
            ));
        }).length"""
    )
    assert overlapping == 0
    tab.close()


def test_paper_is_white_and_holds_what_is_folded(browser: Any, pages: dict[str, Path]) -> None:
    """A printed page wastes ink, cannot be read, or lacks the numbers."""
    tab = browser.new_page(viewport={"width": 800, "height": 1000}, color_scheme="dark")
    tab.goto(pages["five"].as_uri())
    dark = tab.evaluate("getComputedStyle(document.body).color")
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.body).color") != dark
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    shown = tab.evaluate(
        "[...document.querySelectorAll('details table')].every(t => t.checkVisibility("
        "{contentVisibilityAuto: true}) && t.getBoundingClientRect().height > 50)"
    )
    assert shown
    tab.close()


@pytest.mark.skipif(AXE is None, reason="IASIDE_AXE does not name axe.min.js")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_accessibility_tree_is_whole(
    scheme: str, name: str, browser: Any, pages: dict[str, Path]
) -> None:
    """Who cannot see, or sees little, cannot read the page."""
    for width, height in SIZES:
        # Our own policy would not let axe in.
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True
        )
        tab = context.new_page()
        tab.goto(pages[name].as_uri())
        tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        tab.evaluate(Path(str(AXE)).read_text(encoding="utf-8"))
        found = tab.evaluate("axe.run()")
        assert len(found["passes"]) > 20
        assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
        context.close()

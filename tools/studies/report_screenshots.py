"""The README's pictures of a report: pages of one bundled model and of five, in Chromium.

    python -m tools.studies.report_screenshots [--folder docs] [ARCHIVE ...]

Without archives the five bundled models are decomposed. Needs Chromium, and ``pip install
playwright``; the font is Inter where it is installed.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from iaside_onnx import Archive, open_archive, write_report
from tools.shared.files import fail
from tools.shared.paths import FASHION_IMAGES
from tools.studies.readme_results import decompose_bundled

CLASSES = FASHION_IMAGES.with_name("class_names.json")
_WIDTH = 1400
_HEIGHTS = {"report-one": 1560, "report-five": 1500}


def picture(browser: Any, page: Path, height: int) -> Image.Image:
    """The top of a page as a light window shows it."""
    tab = browser.new_page(viewport={"width": _WIDTH, "height": height}, color_scheme="light")
    tab.goto(page.as_uri())
    shot = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    tab.close()
    return shot


def take(archives: list[Archive], folder: Path, work: Path) -> None:
    """Write the pages, and their pictures into the folder."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or fail("Chromium is not installed")
    subjects = {"report-one": archives[:1], "report-five": archives}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, some in subjects.items():
            write_report(some, work / f"{name}.html", images=FASHION_IMAGES, classes=CLASSES)
            shot = picture(browser, work / f"{name}.html", _HEIGHTS[name])
            shot.save(folder / f"{name}.png", optimize=True)
            print(f"{folder / name}.png, {(folder / f'{name}.png').stat().st_size:,} bytes")
        browser.close()


def main() -> None:
    """Parse, decompose, take pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archives", nargs="*", type=Path, metavar="ARCHIVE")
    parser.add_argument("--folder", type=Path, default=Path("docs"), metavar="DIR")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        archives = [open_archive(path) for path in arguments.archives]
        take(archives or decompose_bundled(Path(work)), arguments.folder, Path(work))


if __name__ == "__main__":
    main()

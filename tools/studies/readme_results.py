"""The README's results: decompose the five bundled models, print the table, draw the picture.

    python -m tools.studies.readme_results [--figure OUT.svg] [ARCHIVE ...]
    python -m tools.studies.readme_results --phi OUT.svg ARCHIVE

With archives on the command line, their table is printed instead of that of the bundled models.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import iaside_onnx
from iaside_onnx import Archive
from tools.shared.markdown import row
from tools.shared.paths import BUNDLED, FASHION_IMAGES, bundled_model

_COLOR = "#3b6fb6"


def decompose_bundled(folder: Path) -> list[Archive]:
    """Decompose each bundled model with the default options."""
    archives = []
    for name in BUNDLED:
        print(f"decomposing {name}", flush=True)
        archives.append(
            iaside_onnx.decompose(bundled_model(name), FASHION_IMAGES, folder / f"{name}.h5")
        )
    return archives


def print_table(archives: list[Archive]) -> None:
    """Print one row for each model: accuracy, score with interval, distribution; then phi."""
    bands = range(archives[0].bands)
    print(row(["model", "labels", "accuracy", "SIS [95 %]", *(f"psi {band}" for band in bands)]))
    print("|---|---|---|---|" + "---:|" * len(bands))
    for archive in archives:
        labels = archive.metadata.options["resolved"]["labels"]
        right = float((archive["predicted"] == archive["label"]).mean())
        accuracy = f"{right:.3f}" if labels == "given" else "-"
        sis = f"{archive['sis']:.3f} [{archive['sis_low']:.3f}, {archive['sis_high']:.3f}]"
        cells = [f"{value:.3f}" for value in archive["psi"]]
        print(row([_name(archive), labels, accuracy, sis, *cells]))
    print()
    print(row(["phi, nats", *map(str, bands), "sum"]))
    print("|---|" + "---:|" * (len(bands) + 1))
    for archive in archives:
        cells = [f"{value:.2f}" for value in [*archive["phi"], archive["phi"].sum()]]
        print(row([_name(archive), *cells]))


def _name(archive: Archive) -> str:
    return Path(archive.metadata.model_name).stem


def draw(archives: list[Archive], path: Path) -> None:
    """Draw the distribution over the bands with intervals, one panel for each model."""
    plt = _pyplot()
    figure, (panels,) = plt.subplots(
        1, len(archives), figsize=(2.3 * len(archives), 2.6), sharey=True, squeeze=False
    )
    for panel, archive in zip(panels, archives, strict=True):
        psi = archive["psi"]
        margins = [psi - archive["psi_low"], archive["psi_high"] - psi]
        panel.bar(archive["band"], psi, color=_COLOR, width=0.8)
        panel.errorbar(archive["band"], psi, yerr=margins, fmt="none", ecolor="black", capsize=2)
        panel.set_title(f"{_name(archive)}\nSIS {float(archive['sis']):.3f}", fontsize=9)
        panel.set_xlabel("band", fontsize=8)
    panels[0].set_ylabel("psi, 95 % intervals", fontsize=8)
    _save(figure, path)


def draw_phi(archive: Archive, path: Path) -> None:
    """Draw contributions with intervals over frequency, for many bands."""
    figure, panel = _pyplot().subplots(figsize=(7.5, 3))
    # Centre of the band: from radius to cycles a pixel.
    frequency = (archive["band_low"] + archive["band_high"]) / 4
    phi = archive["phi"]
    margins = [phi - archive["phi_low"], archive["phi_high"] - phi]
    panel.axhline(0, color="#aaa", linewidth=0.8)
    panel.errorbar(
        frequency, phi, yerr=margins, fmt="o-", color=_COLOR, ecolor="black", markersize=3,
        linewidth=1, elinewidth=0.8, capsize=2,
    )  # fmt: skip
    # Linear near 0, which intervals may include; logarithmic above.
    panel.set_yscale("symlog", linthresh=0.1)
    panel.set_xlabel("spatial frequency, cycles a pixel", fontsize=8)
    panel.set_ylabel("phi, nats, 95 % intervals", fontsize=8)
    images = archive.metadata.images_done
    panel.set_title(f"{_name(archive)}, {archive.bands} bands, {images} images", fontsize=9)
    _save(figure, path)


def _pyplot() -> Any:
    """Matplotlib without a window, writing the same SVG in each run."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "iaside"
    return plt


def _save(figure: Any, path: Path) -> None:
    """Style all panels and write the figure."""
    for panel in figure.axes:
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Parse, decompose, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archives", nargs="*", type=Path, metavar="ARCHIVE")
    parser.add_argument("--figure", type=Path, metavar="OUT.svg")
    parser.add_argument("--phi", type=Path, metavar="OUT.svg", help="draw phi of one archive")
    arguments = parser.parse_args()
    if arguments.phi:
        if len(arguments.archives) != 1:
            parser.error("--phi draws one archive")
        draw_phi(iaside_onnx.open_archive(arguments.archives[0]), arguments.phi)
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.archives:
            archives = [iaside_onnx.open_archive(path) for path in arguments.archives]
        else:
            archives = decompose_bundled(Path(folder))
        print_table(archives)
        if arguments.figure:
            draw(archives, arguments.figure)


if __name__ == "__main__":
    main()

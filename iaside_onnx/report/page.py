"""One archive as one self-contained HTML page: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import math
from pathlib import Path

from iaside_onnx.archive import Archive
from iaside_onnx.errors import ArchiveError
from iaside_onnx.files import finished_file
from iaside_onnx.outputs import check_output_file
from iaside_onnx.report.figure import distribution_figure
from iaside_onnx.report.text import interval_text

__all__ = ["check_page", "write_page"]

_SIGN = '<meta name="generator" content="iaside-onnx">'


def check_page(path: Path) -> None:
    """Check, before the work starts, that a page can be written there.

    Raises:
        ArchiveError: if it cannot, or what is there is no such page.
    """
    check_output_file(path, [_SIGN.encode()], overwrite=True, error=ArchiveError)


def write_page(archive: Archive, path: Path) -> None:
    """Write the figure, the table and the provenance of an archive.

    Args:
        archive: what the page is about.
        path: the HTML file to write; a page that an earlier call wrote is replaced.

    Raises:
        ArchiveError: if the file cannot be written, or exists and is not such a page.
    """
    check_page(path)
    page = _render(archive)
    with finished_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _render(archive: Archive) -> str:
    # Imported here, as `iaside show` needs this room and not the page.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("iaside_onnx.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    rows = [
        (
            band,
            f"{archive['band_low'][band]:.3f} to {archive['band_high'][band]:.3f}",
            interval_text(archive, "phi", band),
            interval_text(archive, "psi", band),
        )
        for band in range(archive.bands)
    ]
    return environment.get_template("page.html.jinja").render(
        # Neither holds text from outside.
        sign=Markup(_SIGN),  # noqa: S704
        figure=Markup(distribution_figure(archive)),  # noqa: S704
        name=archive.metadata.model_name,
        score=interval_text(archive, "sis"),
        rows=rows,
        facts=_facts(archive),
    )


def _facts(archive: Archive) -> dict[str, str]:
    meta = archive.metadata
    options = meta.options["resolved"]
    accuracy = (
        f"{meta.accuracy:.3f}" if math.isfinite(meta.accuracy) else "labels are its own answers"
    )
    return {
        "images": f"{meta.images_done} of {meta.images_asked}, {meta.images_failed} failed",
        "accuracy on whole images": accuracy,
        "bands": f"{options['bands']} {options['spacing']}, {options['partition']}",
        "baseline": str(options["baseline"]),
        "range": str(options["pixel_range"]),
        "seed": str(meta.seed),
        "model sha256": meta.model_sha256,
        "precision": meta.precision,
        "runtime": f"{meta.runtime} {meta.runtime_version}, {meta.provider}, {meta.device}",
        "made by": f"iaside {meta.tool_version}, {meta.finished}",
        "archive": archive.path.name,
    }

"""One archive as one self-contained HTML page: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from iaside_onnx.archive import Archive
from iaside_onnx.errors import ArchiveError
from iaside_onnx.files import finished_file
from iaside_onnx.report.figure import distribution_figure
from iaside_onnx.report.text import interval_text

__all__ = ["write_page"]

_SIGN = '<meta name="generator" content="iaside-onnx">'

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dd { margin: 0; overflow-wrap: anywhere; }
svg { width: 100%; } svg text { font: 12px system-ui, sans-serif; fill: #333; }
rect { fill: #3b6fb6; } .grid { stroke: #e4e4e4; } .interval { stroke: #111; stroke-width: 2; }
"""


def write_page(archive: Archive, path: Path) -> None:
    """Write the figure, the table and the provenance of an archive.

    Raises:
        ArchiveError: if the file cannot be written, or is there and is no page of ours.
    """
    if path.exists() and not (path.is_file() and _SIGN.encode() in path.read_bytes()[:1000]):
        raise ArchiveError(f"{path}: is there and was not made by iaside; move it away")
    meta = archive.metadata
    name = escape(meta.model_name)
    rows = "\n".join(
        f"<tr><td>{band}</td><td>{archive['band_low'][band]:.3f} to "
        f"{archive['band_high'][band]:.3f}</td>"
        f"<td>{interval_text(archive, 'phi', band)}</td>"
        f"<td>{interval_text(archive, 'psi', band)}</td></tr>"
        for band in range(archive.bands)
    )
    facts = "\n".join(
        f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in _facts(archive).items()
    )
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">{_SIGN}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{name}: spectral importance</title><style>{_STYLE}</style></head><body>
<h1>{name}</h1>
<p>Spectral importance score <strong>{interval_text(archive, "sis")}</strong>: 0 if all frequency
bands contribute alike. The bars are psi, each band's share above the least contribution; the
lines are 95 % intervals.</p>
{distribution_figure(archive)}
<table><thead><tr><th>band</th><th>radius</th><th>phi, nats [95 %]</th><th>psi [95 %]</th></tr>
</thead><tbody>
{rows}
</tbody></table>
<h2>Provenance</h2>
<dl>
{facts}
</dl>
</body></html>
"""
    with finished_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _facts(archive: Archive) -> dict[str, str]:
    meta = archive.metadata
    options = meta.options["resolved"]
    right = f"{meta.accuracy:.3f}" if math.isfinite(meta.accuracy) else "labels are its own answers"
    return {
        "images": f"{meta.images_done} of {meta.images_asked}, {meta.images_failed} failed",
        "accuracy on whole images": right,
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

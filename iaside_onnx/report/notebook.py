"""An archive as a few lines of HTML, which notebooks show for it."""

from __future__ import annotations

import math

from iaside_onnx.archive import Archive
from iaside_onnx.report.text import interval_text, shortened

__all__ = ["archive_html"]

# Archives may come from strangers, and a name may be as long as the file allows.
_LONGEST = 200


def archive_html(archive: Archive) -> str:
    """Bands, score, accuracy and model of an archive; all text from it is escaped.

    Nothing is loaded from elsewhere, and no colour is set, so that it is readable in dark and
    light.
    """
    # As in `page`: archives are opened and shown without it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

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
    return environment.get_template("summary.html.jinja").render(
        name=shortened(archive.metadata.model_name, _LONGEST),
        path=shortened(str(archive.path), _LONGEST),
        rows=rows,
        facts=_facts(archive),
    )


def _facts(archive: Archive) -> list[str]:
    meta = archive.metadata
    accuracy = (
        f"accuracy {meta.accuracy:.3f} on whole images"
        if math.isfinite(meta.accuracy)
        else "labels are the model's own answers"
    )
    return [
        f"SIS {interval_text(archive, 'sis')}",
        f"{archive['image'].size:,} images",
        accuracy,
        f"baseline {shortened(archive.recipe.baseline, _LONGEST)}",
    ]

"""An archive, or a comparison of some, as a few lines of HTML, which notebooks show for it."""

from __future__ import annotations

import math
from typing import Any

from iaside_onnx.analysis import Comparison
from iaside_onnx.archive import Archive
from iaside_onnx.report.text import interval_text, shortened
from iaside_onnx.report.words import comparison_words, short_names, signed

__all__ = ["archive_html", "comparison_html"]

# Archives may come from strangers, and a name may be as long as the file allows.
_LONGEST = 200


def archive_html(archive: Archive) -> str:
    """Bands, score, accuracy and model of an archive; all text from it is escaped.

    Nothing is loaded from elsewhere, and no colour is set, so that it is readable in dark and
    light.
    """
    rows = [
        (
            band,
            f"{archive['band_low'][band]:.3f} to {archive['band_high'][band]:.3f}",
            interval_text(archive, "phi", band),
            interval_text(archive, "psi", band),
        )
        for band in range(archive.bands)
    ]
    return _render(
        "summary.jinja",
        name=shortened(archive.metadata.model_name, _LONGEST),
        path=shortened(str(archive.path), _LONGEST),
        rows=rows,
        facts=_facts(archive),
    )


def comparison_html(comparison: Comparison) -> str:
    """The sentences about a comparison, and a row for each pair."""
    names = short_names(comparison.archives)
    rows = [
        (
            shortened(names[pair.archive.path], _LONGEST),
            shortened(names[pair.reference.path], _LONGEST),
            f"{pair.images:,}",
            "" if pair.accuracy is None else signed(pair.accuracy.difference),
            signed(pair.log_probability),
            signed(pair.sis),
        )
        for pair in comparison.pairs
    ]
    sentences = [shortened(text, 5 * _LONGEST) for text in comparison_words(comparison)]
    return _render("differences.jinja", sentences=sentences, rows=rows)


def _render(template: str, **context: Any) -> str:
    # As in `page`: archives are opened and shown without it.
    from iaside_onnx.report.templating import environment

    return environment().get_template(template).render(**context)


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

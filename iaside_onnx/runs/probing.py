"""A look at a few images before the work: what the outputs are, and whether they make sense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.analysis import chance_warning
from iaside_onnx.archive import Recipe
from iaside_onnx.errors import EvaluationError, ImageError, ModelError
from iaside_onnx.images import PreparedImage, Preprocess, load_ahead
from iaside_onnx.model import Outputs, examine_outputs
from iaside_onnx.runs.baselines import Baselines
from iaside_onnx.runs.dependence import Settled, settle_batch
from iaside_onnx.runs.labels import check_labels
from iaside_onnx.runs.options import Options
from iaside_onnx.runs.selection import Selection
from iaside_onnx.runtime import Predictor, log_probabilities, usable_cores
from iaside_onnx.spectrum import limit_range
from iaside_onnx.types import BASELINES, Baseline, PixelRange

__all__ = ["Look", "check_baseline", "probe"]

_IMAGES = 16
_BASELINES = 4
"""Images whose own baseline is tried."""
_SAME = 1e-6
"""Outputs that differ by less than this share are the same."""

_IN_WORDS: dict[Baseline, str] = {
    "zero": "a black image",
    "mean": "an image of the mean colour",
    "noise": "noise with the band energies of the image",
    "complement": "another image",
}


class Look(NamedTuple):
    """What a look at a few images found.

    Attributes:
        outputs: what the outputs are.
        settled: how the model is to be run.
        positions: of the images in the source.
        pixels: of the images, ``(n, channels, height, width)`` in [0, 1].
        warnings: what makes the model or the labels doubtful.
    """

    outputs: Outputs
    settled: Settled
    positions: list[int]
    pixels: NDArray[np.float32]
    warnings: list[str]


def probe(
    predictor: Predictor,
    selection: Selection,
    spec: Preprocess,
    options: Options,
    earlier: Recipe | None = None,
) -> Look:
    """Run a few whole images, and find out how the model is to be run and what its outputs are.

    Args:
        predictor: the model; its batch size becomes that of the run.
        selection: the images.
        spec: how they are prepared.
        options: of the run.
        earlier: recipe of a run of this model, which tells how it is to be run.

    Raises:
        ModelError: if the model gives nothing finite, its outputs cannot be understood, or they are
            no function of the image.
        ImageError: if none of the images can be read, or labels lie outside of the classes.
    """
    n = selection.positions.size
    rows = np.unique(np.linspace(0, n - 1, min(n, _IMAGES)).astype(np.int64))
    positions = selection.positions[rows].tolist()
    items = list(load_ahead(selection.source, positions, spec, usable_cores(), len(positions)))
    good = [i for i, item in enumerate(items) if isinstance(item, PreparedImage)]
    if not good:
        raise next(item for item in items if isinstance(item, ImageError))
    pixels = np.stack([item.pixels for item in items if isinstance(item, PreparedImage)])
    settled = settle_batch(
        predictor, pixels, allow_nondeterministic=options.allow_nondeterministic, earlier=earlier
    )
    outputs = settled.outputs
    classifier = predictor.classifier
    hint, where = classifier.signature.output_hint, str(classifier.facts.path)
    try:
        found = examine_outputs(outputs, hint, where, options.output_kind)
    except ModelError as error:
        if settled.rule != "alone":
            raise
        # Alone, an image may get what is no answer, and that is the cause to mend.
        raise ModelError(f"{error} ({settled.note})") from error
    same = bool((pixels != pixels[0]).any()) and np.allclose(
        outputs, outputs[0], rtol=_SAME, atol=0, equal_nan=True
    )
    if settled.rule == "alone" and same:
        raise ModelError(
            f"{where}: alone, every image gets the same outputs, so there is nothing to divide "
            f"among bands ({settled.note}); export the model without what mixes images"
        )
    check_labels(selection, found.classes)
    warnings = list(_doubts(selection, rows[good], outputs, found.classes, same=same))
    return Look(
        found, settled, [positions[i] for i in good], pixels,
        [f"a look at {len(good)} images: {warning}" for warning in warnings],
    )  # fmt: skip


def _doubts(
    selection: Selection,
    rows: NDArray[np.int64],
    outputs: NDArray[Any],
    classes: int,
    *,
    same: bool,
) -> Iterator[str]:
    """What makes the answers doubtful; ``same`` is whether different images get the same."""
    if same:
        yield (
            "the model gives the same outputs for all of them, so there is nothing to divide "
            "among bands; likely causes are the value range or the normalisation (`preprocess=`), "
            "the wrong output (`output_name=`), or an export that lost its weights"
        )
        return
    if selection.labels is not None:
        warning = chance_warning(outputs.argmax(axis=1), selection.labels[rows], classes)
        if warning:
            yield warning


def check_baseline(
    predictor: Predictor, baselines: Baselines, look: Look, pixel_range: PixelRange
) -> list[str]:
    """Evaluate the empty coalition of a few images, on which every image depends.

    Args:
        predictor: the model, with its output kind and its batch size.
        baselines: of the run.
        look: the images.
        pixel_range: what is done to filtered images that leave [0, 1].

    Returns:
        A warning if the model gives nothing usable for the baseline of some of the images.

    Raises:
        ModelError: if it does for none of them; with the baselines for which it does.
    """
    reasons = _failures(predictor, baselines, look, pixel_range)
    failed = [reason for reason in reasons if reason is not None]
    if not failed:
        return []
    kind, where = baselines.kind, predictor.classifier.facts.path
    what = f"for the baseline {kind!r} ({_IN_WORDS[kind]}) {failed[0]}"
    if len(failed) < len(reasons):
        return [f"{what}, of {len(failed)} of {len(reasons)} images tried: such images will fail"]
    color = look.pixels.mean(axis=(0, 2, 3), dtype=np.float64).astype(np.float32)
    works = []
    # A single image has no other that could be its baseline.
    impossible = {kind, "complement"} if len(look.pixels) == 1 else {kind}
    for other in (one for one in BASELINES if one not in impossible):
        tried = replace(baselines, kind=other, color=color if other == "mean" else None)
        if not any(_failures(predictor, tried, look, pixel_range)):
            works.append(other)
    advice = (
        f"give `baseline={' or '.join(works)}`, with which it works"
        if works
        else "none of the other baselines works either: check the model and its preprocessing"
    )
    raise ModelError(f"{where}: {what}, so that no image can be decomposed; {advice}")


def _failures(
    predictor: Predictor, baselines: Baselines, look: Look, pixel_range: PixelRange
) -> list[str | None]:
    """Why the model's outputs for some baselines are no log-probabilities; None where they are."""
    count = 1 if baselines.constant else min(len(look.pixels), _BASELINES)
    others = np.roll(look.pixels, 1, axis=0) if baselines.kind == "complement" else [None] * count
    rows = zip(look.pixels[:count], look.positions, others, strict=False)
    made = np.stack([baselines.make(image, where, other) for image, where, other in rows])
    limit_range(made, pixel_range)
    reasons: list[str | None] = []
    for output in predictor.outputs(made):
        try:
            log_probabilities(output[None], predictor.output_kind)
        except EvaluationError as error:
            reasons.append(str(error))
        else:
            reasons.append(None)
    return reasons

"""Whether the attributes, axes and values of an archive contradict each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

import numpy as np

from iaside_onnx.analysis.accuracy import accuracy
from iaside_onnx.analysis.estimates import design_of
from iaside_onnx.analysis.samples import sample_contradictions
from iaside_onnx.archive import WORTH_ROUNDING, Archive
from iaside_onnx.errors import PreprocessError
from iaside_onnx.images import Preprocess
from iaside_onnx.spectrum import band_edges

__all__ = ["contradictions"]

# Root attributes that are also fields of the recipe.
_DUPLICATED = ("tool_version", "model_sha256", "model_external", "runtime", "runtime_version",
          "provider", "device", "seed", "preprocess")  # fmt: skip
_SHA256 = re.compile(r"[0-9a-f]{64}")


def contradictions(archive: Archive) -> Iterator[str]:
    """Find contradictions, one sentence each.

    Args:
        archive: an archive whose schema and checksums are right.
    """
    yield from _attributes(archive)
    yield from _axes(archive)
    yield from _images(archive)
    yield from sample_contradictions(archive)
    yield from _worths(archive)


def _attributes(archive: Archive) -> Iterator[str]:
    meta, recipe = archive.metadata, archive.recipe
    for name in _DUPLICATED:
        if getattr(recipe, name) != getattr(meta, name):
            yield f"the attribute {name!r} is not what the options say"
    failed = archive["failed"].size if "failed" in archive.names else 0
    counts = (meta.images_asked, meta.images_done, meta.images_failed)
    if counts != (archive["image"].size + failed, archive["image"].size, failed):
        yield f"images asked, done and failed are {counts}, which is not how many there are"
    predicted = recipe.labels == "predicted"
    correct = np.nan if predicted else accuracy(archive["predicted"], archive["label"])
    if not np.isclose(meta.accuracy, correct, rtol=0, atol=1e-12, equal_nan=True):
        yield f"the accuracy is {meta.accuracy}, where labels and predictions give {correct}"
    if predicted and (archive["predicted"] != archive["label"]).any():
        yield "labels are the model's own answers, and differ from 'predicted'"
    for name in ("started", "finished"):
        try:
            datetime.fromisoformat(getattr(meta, name))
        except ValueError:
            yield f"the attribute {name!r} is not a time: {getattr(meta, name)!r}"
    try:
        Preprocess.from_dict(dict(meta.preprocess), "preprocess")
    except PreprocessError as error:
        yield f"the attribute 'preprocess' cannot be used: {error}"
    if meta.schema_version < 1 or meta.seed < 0:
        yield f"the schema version {meta.schema_version} or the seed {meta.seed} is impossible"


def _axes(archive: Archive) -> Iterator[str]:
    bands, spacing = archive.bands, archive.recipe.spacing
    if archive.recipe.bands != bands or (archive["band"] != np.arange(bands)).any():
        yield f"'band' is not 0 to {archive.recipe.bands} - 1"
        return
    edges = band_edges(bands, spacing)
    if not np.allclose([*archive["band_low"], archive["band_high"][-1]], edges) or not np.allclose(
        archive["band_high"], edges[1:]
    ):
        yield f"'band_low' and 'band_high' are not those of {bands} {spacing} bands"
    design = design_of(archive)
    if archive.own_coalitions == design.shared:
        yield f"its coalitions are not stored as those of the method {design.name}"
    elif archive.own_coalitions:
        yield from _slots(archive)
    elif not np.array_equal(archive["coalition"], design.coalitions(0, 0, archive.slots)):
        yield "'coalition' is not every coalition in order"


def _slots(archive: Archive) -> Iterator[str]:
    """Check the coalitions of each image, which follow from the seed and its draw."""
    design = design_of(archive)
    draws, replicates = archive.draws, archive.replicates
    if (archive["block"] != draws // design.block).any():
        yield "'block' is not 'draw' divided by the size of a block"
    if archive.slots > design.passes[-1].stop:
        yield f"there are {archive.slots} slots, more than the method {design.name} has"
        return
    if (archive["slot"] != np.arange(archive.slots)).any():
        yield "'slot' is not 0, 1, 2 and so on"
    for rows in archive.pieces("worth"):
        stored = archive.coalitions(rows.start, rows.stop)
        for row, masks in enumerate(stored, rows.start):
            filled = design.slots(int(replicates[row]))
            wanted = np.zeros_like(masks)
            wanted[:filled] = design.coalitions(int(draws[row]), 0, filled)
            if (masks != wanted).any():
                yield (
                    f"the coalitions of image {archive['image_id'][row]} are not those that "
                    "follow from the seed"
                )
                return


def _images(archive: Archive) -> Iterator[str]:
    image = archive["image"]
    if image.min() < 0 or np.unique(image).size < image.size:
        yield "'image' holds a position twice, or one below 0"
    files = zip(archive["image_id"].tolist(), archive["image_sha256"].tolist(), strict=True)
    if len(set(files)) < image.size:
        yield "one image is there twice: two have the same name and the same SHA-256"
    bad = [text for text in archive["image_sha256"] if not _SHA256.fullmatch(text)]
    if bad:
        yield f"'image_sha256' holds a value that is not a SHA-256: {str(bad[0])!r}"
    for name in ("label", "predicted"):
        if archive[name].min() < 0:
            yield f"{name!r} holds a class below 0"
    if archive["floored"].min() < 0 or archive["floored"].max() > archive.slots + 1:
        yield "'floored' counts more worths than there are"


def _worths(archive: Archive) -> Iterator[str]:
    design = design_of(archive)
    filled = np.array([design.slots(int(count)) for count in archive.replicates])
    # Where each image is stretched, the full coalition is not the image as it is.
    columns = {"empty": 0}
    if archive.recipe.pixel_range != "minmax":
        columns["whole"] = design.full_slot
    for rows in archive.pieces("worth"):
        worth = archive.worth(rows.start, rows.stop)
        there = np.arange(worth.shape[1]) < filled[rows][:, None]
        # Comparisons with NaN are false, so a missing worth is found too.
        if not (worth[there] <= WORTH_ROUNDING).all() or np.isinf(worth).any():
            yield "a worth is not a log-probability: it is above 0, infinite, or missing"
            return
        if not np.isnan(worth[~there]).all():
            yield "a worth is present that was not evaluated"
            return
        for name, column in columns.items():
            if (archive[f"log_probability_{name}"][rows] != worth[:, column]).any():
                yield f"'log_probability_{name}' is not the worth of that coalition"
                return

"""Each class by itself: accuracy, contributions, score, and what its images are taken for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.analysis.statistics import Interval, proportion_interval
from iaside_onnx.archive import Archive, as_archive, class_folders
from iaside_onnx.errors import OptionError
from iaside_onnx.game import LEVEL, estimate_moments, unit_moments
from iaside_onnx.images import ClassesLike, find_classes
from iaside_onnx.types import Phi

__all__ = [
    "FEW_IMAGES",
    "ClassResult",
    "Confusion",
    "by_class",
    "class_names",
    "doubtful_names",
    "frequent_confusions",
]

FEW_IMAGES = 50
"""With fewer images of a class, its intervals of phi and SIS miss too often.

Contributions are skewed: a few images have most of the error, and a small sample lacks them. In
samples of the bundled models (ten classes, 8 bands), the intervals of phi of all classes and bands
held together in 75 to 93 % of samples of 5 to 20 images a class, and in 88 to 92 % of those of 50,
in place of 95 %; those of SIS in 91 to 98 % (``tools/studies/class_coverage.py``).
"""


@dataclass(frozen=True, slots=True, eq=False)
class ClassResult:
    """What a model makes of the images of one class; bounds are NaN where it has one image.

    Attributes:
        index: the class.
        name: its name, several with commas between them; None if unknown.
        images: number of its images.
        accuracy: share of its whole images that the model gets right, with the interval of Clopper
            and Pearson; None where labels are the model's own answers.
        phi: mean contributions, ``(bands,)``, in nats.
        phi_low: lower bounds; those of all bands and classes hold together.
        phi_high: upper bounds.
        sis: spectral importance score.
        sis_low: lower bound; those of all classes hold together.
        sis_high: upper bound.
        log_probability: mean log-probability of the label over its whole images, in nats. It has no
            interval: the mean is that of a few images that the model is far off with, and whether a
            sample holds one of them is chance. Student's t holds the truth of ten classes
            of 50 images in 11 to 48 % of samples in place of 95 %.
        confusions: what its images are taken for, as (class, number of images), the most frequent
            first.
        few: whether it has fewer images than `FEW_IMAGES`.
    """

    index: int
    name: str | None
    images: int
    accuracy: Interval | None
    phi: Phi
    phi_low: Phi
    phi_high: Phi
    sis: float
    sis_low: float
    sis_high: float
    log_probability: float
    confusions: tuple[tuple[int, int], ...]
    few: bool


@dataclass(frozen=True, slots=True)
class Confusion:
    """Images of one class that are taken for another.

    Attributes:
        label: the class of the images.
        predicted: the class that the model gives them.
        images: their number.
    """

    label: int
    predicted: int
    images: int


def by_class(
    archive: Archive | str | Path, classes: ClassesLike | None = None
) -> tuple[ClassResult, ...]:
    """Accuracy, contributions and score of each class of an archive, the most fragile first.

    Most fragile is the class with the lowest upper bound of accuracy, and so the one that is most
    certainly bad; of several, the one with the lowest mean log-probability. (The lower bounds would
    put classes with few images first.) Where labels are the model's own answers, there is no
    accuracy, and the log-probability alone decides.

    Intervals of one kind hold together for all K classes with 95 % (Bonferroni; Dunn, JASA 1961):
    those of accuracy and of the score are at the level ``1 - 0.05 / K``, those of phi at
    ``1 - 0.05 / (K bands)``. They are about all images that the images of a class were drawn from,
    also where those of the archive are about its source alone. Independent units are images, also
    of a sampled archive, where images of one block have balanced permutations. That is
    conservative, because the errors of the images of a block are negatively correlated.

    Args:
        archive: the archive, or its path.
        classes: names of the classes, as `decompose` takes them: a file, a map, or a list. Without
            it, names are those of the class folders of the archive.

    Raises:
        ArchiveError: if the archive cannot be read.
        ImageError: if the names cannot be read.
        OptionError: if ``classes`` is a rule for class folders.
    """
    archive = as_archive(archive)
    names = class_names(archive, classes)
    labels, label_of = np.unique(archive["label"], return_inverse=True)
    order = np.argsort(label_of, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(label_of))[:-1])
    confusions = _confusions(labels, label_of, archive["predicted"])
    found = [
        _one(archive, int(label), rows, names, confusions.get(int(label), ()), labels.size)
        for label, rows in zip(labels, groups, strict=True)
    ]
    high = [1.0 if one.accuracy is None else one.accuracy.high for one in found]
    keys = (labels, np.array([one.log_probability for one in found]), np.array(high))
    return tuple(found[i] for i in np.lexsort(keys))


def class_names(archive: Archive, classes: ClassesLike | None = None) -> dict[int, str]:
    """The name of each class that has one; several names of one class have commas between them.

    Args:
        archive: the archive, whose class folders are the names where none are given.
        classes: names of the classes, as `by_class` takes them.

    Raises:
        ImageError: if the names cannot be read.
        OptionError: if ``classes`` is a rule for class folders.
    """
    if classes is None:
        return {index: ", ".join(sorted(own)) for index, own in class_folders(archive).items()}
    return {index: ", ".join(own) for index, own in _read_names(classes).items()}


def doubtful_names(archives: Iterable[Archive], classes: ClassesLike | None) -> list[str]:
    """In what names do not fit the classes of archives: sentences, each once; none where they do.

    How many classes a model has is in no archive. Names for classes that no image has are common,
    as there may be fewer images than classes. But names without gaps are for the indices below
    their number, so one beyond that is most likely a slip, unless an image has it.

    Args:
        archives: the archives.
        classes: names of the classes, as `by_class` takes them; None is never in doubt.

    Raises:
        ImageError: if the names cannot be read.
        OptionError: if ``classes`` is a rule for class folders.
    """
    if classes is None:
        return []
    names = _read_names(classes)
    where = str(classes) if isinstance(classes, str | Path) else "`classes`"
    found = [doubt for archive in archives for doubt in _doubts(archive, names)]
    several = [index for index, own in names.items() if len(own) > 1]
    # Where all have several, they are synonyms.
    if len(several) < len(names):
        found += [f"has several names for class {i}: {', '.join(names[i])}" for i in several[:1]]
    return [f"{where} {doubt}" for doubt in dict.fromkeys(found)]


def _doubts(archive: Archive, names: dict[int, list[str]]) -> list[str]:
    """In what names do not fit the classes of one archive, without what they are in."""
    labels, answers = ({*archive[name].tolist()} for name in ("label", "predicted"))
    found = []
    named = len(labels & names.keys())
    if named < len(labels):
        found.append(f"names {named:,} of the {len(labels):,} classes of these images")
    beyond = [i for i in names.keys() - labels - answers if i >= len(names)]
    if beyond:
        found.append(
            f"names class {min(beyond)}, but no image is of it, and it has {len(names):,} names"
        )
    return found


def _read_names(classes: ClassesLike) -> dict[int, list[str]]:
    """All names of each class.

    Raises:
        ImageError: if the names cannot be read.
        OptionError: if ``classes`` is a rule for class folders.
    """
    known = find_classes(classes)
    if not isinstance(known, dict):
        raise OptionError(
            f"`classes={known!r}` is a rule for class folders and names no class; give a file that "
            "maps names to class indices"
        )
    names: dict[int, list[str]] = {}
    for name, index in known.items():
        names.setdefault(index, []).append(name)
    return names


def frequent_confusions(results: Iterable[ClassResult]) -> tuple[Confusion, ...]:
    """Which class is taken for which, over all classes, the most frequent first."""
    found = [
        Confusion(one.index, predicted, images)
        for one in results
        for predicted, images in one.confusions
    ]
    return tuple(sorted(found, key=lambda one: (-one.images, one.label, one.predicted)))


def _confusions(
    labels: NDArray[np.int64], label_of: NDArray[np.int64], predicted: NDArray[np.int64]
) -> dict[int, tuple[tuple[int, int], ...]]:
    """What the images of each class are taken for, the most frequent first."""
    answers, answer_of = np.unique(predicted, return_inverse=True)
    pairs, counts = np.unique(label_of * answers.size + answer_of, return_counts=True)
    found: dict[int, list[tuple[int, int]]] = {}
    # The order of `pairs` is that of labels, then answers, and the sort is stable.
    for i in np.argsort(-counts, kind="stable"):
        label, answer = int(labels[pairs[i] // answers.size]), int(answers[pairs[i] % answers.size])
        if label != answer:
            found.setdefault(label, []).append((answer, int(counts[i])))
    return {label: tuple(own) for label, own in found.items()}


def _one(
    archive: Archive,
    index: int,
    rows: NDArray[np.int64],
    names: dict[int, str],
    confusions: tuple[tuple[int, int], ...],
    classes: int,
) -> ClassResult:
    """The result of one class of several."""
    level = 1 - (1 - LEVEL) / classes
    own_answers = archive.recipe.labels == "predicted"
    right = int((archive["predicted"][rows] == index).sum())
    # In an edited archive any number may be infinite or NaN.
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        moments = unit_moments(archive["phi_image"][rows])
        found = estimate_moments(moments, level)
        several = 1 - (1 - LEVEL) / (classes * archive.bands)
        reach = found.standard_error * (moments.quantile(several) if moments.known else np.nan)
        mean = float(archive["log_probability_whole"][rows].mean(dtype=np.float64))
    return ClassResult(
        index=index,
        name=names.get(index),
        images=rows.size,
        accuracy=None if own_answers else proportion_interval(right, rows.size, level),
        phi=found.phi,
        phi_low=found.phi - reach,
        phi_high=found.phi + reach,
        sis=found.sis,
        sis_low=found.sis_low,
        sis_high=found.sis_high,
        log_probability=mean,
        confusions=confusions,
        few=rows.size < FEW_IMAGES,
    )

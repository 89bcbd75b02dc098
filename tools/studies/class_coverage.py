"""How often the intervals of `iaside show --by class` hold for all classes together.

The images of an archive are the population. From each of its classes, N images are drawn with
replacement, so the truth is known: the values over all images of the class. `log p` is Student's t
interval of the mean log-probability, corrected like the others; `by_class` does not give it, and
this is why.

    python -m tools.studies.class_coverage a.h5 b.h5 --samples 500
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iaside_onnx import Archive, open_archive
from iaside_onnx.analysis import ClassResult, by_class
from iaside_onnx.analysis.statistics import mean_interval
from tools.shared.markdown import row

KINDS = ("accuracy", "phi", "SIS", "log p")
SIZES = (5, 10, 20, 50, 100)


def results(archive: Archive, rows: NDArray[np.int64]) -> dict[int, ClassResult]:
    """The result of each class over some images."""
    wanted = ("label", "predicted", "phi_image", "log_probability_whole")
    values = {"band": archive["band"], **{name: archive[name][rows] for name in wanted}}
    some = Archive(archive.path, archive.schema, archive.metadata, values, frozenset())
    return {one.index: one for one in by_class(some)}


def covered(truth: ClassResult, found: ClassResult) -> dict[str, bool]:
    """Whether the intervals of a class hold the truth."""
    if truth.accuracy is None or found.accuracy is None:
        raise SystemExit("the labels are the model's own answers; give an archive with labels")
    eps = 1e-9
    inside = (found.phi_low <= truth.phi + eps) & (truth.phi <= found.phi_high + eps)
    return {
        "accuracy": found.accuracy.low <= truth.accuracy.value <= found.accuracy.high,
        "phi": bool(inside.all()),
        "SIS": found.sis_low <= truth.sis + eps and truth.sis <= found.sis_high + eps,
    }


def main() -> None:
    """Print how often the intervals of all classes hold, for each archive and sample size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archives", nargs="+", type=Path)
    parser.add_argument("--samples", type=int, default=500)
    options = parser.parse_args()
    print(row(["archive", "images a class", *KINDS]))
    print(row("-" * (len(KINDS) + 2)))
    for path in options.archives:
        archive = open_archive(path)
        labels, log_p = archive["label"], archive["log_probability_whole"].astype(np.float64)
        groups = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
        truth = results(archive, np.arange(labels.size))
        for n in SIZES:
            rng = np.random.default_rng(n)
            counts = dict.fromkeys(KINDS, 0)
            for _ in range(options.samples):
                drawn = {label: rng.choice(rows, n) for label, rows in groups.items()}
                found = results(archive, np.concatenate(list(drawn.values())))
                held = [covered(truth[label], found[label]) for label in groups]
                for kind in KINDS[:-1]:
                    counts[kind] += all(one[kind] for one in held)
                means = [
                    (mean_interval(log_p[rows], 1 - 0.05 / len(groups)), log_p[groups[label]])
                    for label, rows in drawn.items()
                ]
                counts["log p"] += all(t.low <= own.mean() <= t.high for t, own in means)
            cells = [f"{100 * counts[kind] / options.samples:.1f}" for kind in KINDS]
            print(row([path.stem, str(n), *cells]), flush=True)


if __name__ == "__main__":
    main()

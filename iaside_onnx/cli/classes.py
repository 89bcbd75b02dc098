"""What ``iaside show --by class`` adds: each class by itself, and what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from iaside_onnx.archive import Archive
from iaside_onnx.cli.console import print_table, printable, results, warn
from iaside_onnx.report.text import bounded_text, json_number

if TYPE_CHECKING:
    from iaside_onnx.analysis import ClassResult

__all__ = ["Classes", "classes_as_json", "classes_of", "print_classes"]

_LONGEST_NAME = 16
_CONFUSIONS = 5
# The most fragile are first, so that the others may be left out.
_MOST_CLASSES = 30


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of an archive.

    Attributes:
        results: one for each class, the most fragile first.
        names: the name of each class that has one.
    """

    results: tuple[ClassResult, ...]
    names: dict[int, str]

    def named(self, index: int) -> str:
        """What a class is called, short and fit to print."""
        name = printable(self.names.get(index, f"class {index}"))
        return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 2] + ".."


def classes_of(archives: Sequence[Archive], classes: Path | None) -> list[Classes]:
    """The classes of each archive, with names from a file or from its class folders.

    Warns where the names do not fit.

    Raises:
        ImageError: if the file cannot be read.
        OptionError: if it is a rule for class folders.
    """
    # The import loads SciPy, which `iaside show` does not need without this.
    from iaside_onnx.analysis import by_class, class_names, doubtful_names

    for doubt in doubtful_names(archives, classes):
        warn(doubt)
    return [Classes(by_class(one, classes), class_names(one, classes)) for one in archives]


def classes_as_json(found: Classes) -> dict[str, Any]:
    """All classes, the most fragile first, and all confusions, as JSON values."""
    from iaside_onnx.analysis import frequent_confusions

    return {
        "classes": [_as_json(one) for one in found.results],
        "confusions": [
            {
                "label": one.label,
                "label_name": found.names.get(one.label),
                "predicted": one.predicted,
                "predicted_name": found.names.get(one.predicted),
                "images": one.images,
            }
            for one in frequent_confusions(found.results)
        ],
    }


def _as_json(one: ClassResult) -> dict[str, Any]:
    values = {
        name: json_number(getattr(one, name))
        for name in ("sis", "sis_low", "sis_high", "log_probability")
    }
    for end in ("value", "low", "high"):
        name = "accuracy" if end == "value" else f"accuracy_{end}"
        values[name] = None if one.accuracy is None else json_number(getattr(one.accuracy, end))
    bands = {
        name: [json_number(value) for value in getattr(one, name)]
        for name in ("phi", "phi_low", "phi_high")
    }
    known = {"class": one.index, "name": one.name, "images": one.images, "few_images": one.few}
    return {**known, **values, **bands}


def print_classes(archive: Archive, found: Classes) -> None:
    """Print the table of classes, contributions at either end of it, and the confusions."""
    console = results()
    console.print()
    _print_table(console, found)
    console.print()
    if len(found.results) > 1:
        _print_ends(console, archive, found)
        console.print()
    for line in _notes(found):
        console.print(line, soft_wrap=True)


def _print_table(console: Console, found: Classes) -> None:
    with_accuracy = found.results[0].accuracy is not None
    some_few = any(one.few for one in found.results)
    heads = ["class", "name", "images", "accuracy [95 %]", "SIS [95 %]", "log p", "taken for"]
    rows = []
    for one in found.results[:_MOST_CLASSES]:
        accuracy = one.accuracy
        rows.append(
            [
                str(one.index),
                "-" if one.name is None else found.named(one.index),
                f"{one.images:,}" + ("*" if one.few else " ") * some_few,
                ""
                if accuracy is None
                else bounded_text(accuracy.value, accuracy.low, accuracy.high),
                bounded_text(one.sis, one.sis_low, one.sis_high),
                f"{one.log_probability:.3f}",
                " ".join(f"{found.named(answer)}: {n:,}" for answer, n in one.confusions[:1]),
            ]
        )
    if not with_accuracy:
        # Labels are the model's own answers: there are no confusions either.
        kept = [0, 1, 2, 4, 5]
        heads, rows = [heads[i] for i in kept], [[row[i] for i in kept] for row in rows]
    print_table(console, heads, rows, [0.0] * len(rows))


def _print_ends(console: Console, archive: Archive, found: Classes) -> None:
    """Contributions to the most fragile class and to the sturdiest, with their intervals."""
    ends = (found.results[0], found.results[-1])
    heads = ["band", "radius", *(f"phi of {found.named(one.index)}, nats" for one in ends)]
    rows = [
        [
            str(band),
            f"{archive['band_low'][band]:.3f}-{archive['band_high'][band]:.3f}",
            *(bounded_text(one.phi[band], one.phi_low[band], one.phi_high[band]) for one in ends),
        ]
        for band in range(archive.bands)
    ]
    print_table(console, heads, rows, [0.0] * len(rows))


def _notes(found: Classes) -> list[str]:
    from iaside_onnx.analysis import FEW_IMAGES, frequent_confusions

    classes = len(found.results)
    with_accuracy = found.results[0].accuracy is not None
    few = sum(one.few for one in found.results)
    lines = [
        f"confusions {found.named(one.label)} taken for {found.named(one.predicted)}: "
        f"{one.images:,} image{'s' * (one.images != 1)}"
        for one in frequent_confusions(found.results)[:_CONFUSIONS]
    ]
    lines = [line if i == 0 else " " * 11 + line[11:] for i, line in enumerate(lines)]
    order = "by the upper bound of accuracy" if with_accuracy else "by mean log p"
    exact = "accuracy exact (Clopper-Pearson), " if with_accuracy else ""
    lines += [
        f"order      the most fragile class first, {order}",
        f"intervals  hold for all {classes:,} classes together (95 %, Bonferroni): {exact}SIS and "
        "phi Student's t",
    ]
    if classes > _MOST_CLASSES:
        lines.append(
            f"note       {classes - _MOST_CLASSES:,} classes that are less fragile are left out; "
            "--json has all"
        )
    if few:
        lines.append(
            f"note       {few:,} of {classes:,} classes have fewer than {FEW_IMAGES} images (*): "
            "their intervals of SIS and phi miss more often"
        )
    return lines

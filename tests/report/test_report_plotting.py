"""Charts with Matplotlib: bars and intervals where the archive's numbers are."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest

from iaside_onnx import Archive, by_class, plot_bands, plot_classes
from iaside_onnx.errors import OptionError

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def axes() -> Any:
    """Axes of a figure that pyplot does not know, and that can be drawn."""
    return FigureCanvasAgg(Figure()).figure.subplots()


def edited(archive: Archive, name: str = "fashion-cnn.onnx", **values: Any) -> Archive:
    """An archive that somebody has changed, and called after its model."""
    variables = {key: archive[key] for key in archive} | values
    metadata = replace(archive.metadata, model_name=name)
    path = archive.path.with_name(f"{name[:200]}.h5")
    return Archive(path, archive.schema, metadata, variables, frozenset())


def bars(ax: Any) -> list[list[tuple[float, float, float]]]:
    """Middle, width and signed height of each bar, by archive."""
    return [
        [(bar.get_x() + bar.get_width() / 2, bar.get_width(), bar.get_height()) for bar in group]
        for group in ax.containers
    ]


@pytest.mark.parametrize("kind", ["phi", "psi"])
def test_bars_and_intervals_are_those_of_the_archive(bundled_archive: Archive, kind: Any) -> None:
    """A chart of other numbers, or of magnitudes in which bands that hurt look useful."""
    ax: Any = axes()
    assert bundled_archive.plot(kind, ax) is ax
    with h5py.File(bundled_archive.path) as file:
        value, low, high = (file[f"{kind}{end}"][()] for end in ("", "_low", "_high"))
    (found,) = bars(ax)
    np.testing.assert_allclose([height for _, _, height in found], value, rtol=1e-12)
    np.testing.assert_allclose([middle for middle, _, _ in found], range(6), atol=1e-12)
    drawn: Any = ax.collections[0]
    lines = drawn.get_segments()
    np.testing.assert_allclose([line[0] for line in lines], [*zip(range(6), low, strict=True)])
    np.testing.assert_allclose([line[1] for line in lines], [*zip(range(6), high, strict=True)])
    if kind == "phi":
        assert (value < 0).any()
        assert "nats" in ax.get_ylabel()
        assert ax.get_ylim()[0] < value.min()
    assert ax.get_title() == "fashion-cnn.onnx"


def test_several_archives_are_side_by_side(bundled_archive: Archive, table: Archive) -> None:
    """Bars of one model would cover those of another, or have its name."""
    ax: Any = plot_bands([bundled_archive, table], ax=axes())
    first, second = bars(ax)
    for (left, width, ours), (right, _, theirs) in zip(first, second, strict=True):
        assert right - left == pytest.approx(width)
        assert round(left) == round(right)
        assert ours != theirs
    np.testing.assert_allclose([height for *_, height in second], table["phi"], rtol=1e-12)
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["bundled", "exact"]
    colors = [handle.get_facecolor() for handle in legend.legend_handles]
    assert colors == [group[0].get_facecolor() for group in ax.containers]


def test_other_bands_are_refused(bundled_archive: Archive) -> None:
    """Bars beside each other would be about other frequencies."""
    other = edited(bundled_archive, band=np.arange(3))
    with pytest.raises(OptionError, match="other bands than"):
        plot_bands([bundled_archive, other], ax=axes())
    with pytest.raises(OptionError, match="at least one archive"):
        plot_bands([], ax=axes())


def test_an_unknown_kind_is_named(bundled_archive: Archive) -> None:
    """`phi_image` would be drawn as if it were one."""
    with pytest.raises(OptionError, match="unknown kind 'phis', did you mean 'phi'"):
        bundled_archive.plot("phis", axes())  # type: ignore[arg-type]  # so


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("classes", "plot_classes(by_class(archive))"),
        ("comparison", "compare(archive, other).plot()"),
    ],
)
def test_what_is_drawn_elsewhere_is_named(bundled_archive: Archive, kind: Any, call: str) -> None:
    """Nobody finds the chart of classes, as there is no kind for it."""
    with pytest.raises(OptionError, match=re.escape(f"; {call} draws {kind}")):
        bundled_archive.plot(kind, axes())


@pytest.mark.parametrize("name", ["$\\frac{$", "_hidden", "a\nb\x1b", "n" * 9999])
def test_a_hostile_name_is_drawn_as_text(bundled_archive: Archive, name: str) -> None:
    """Matplotlib takes dollars for formulas, and leaves out names with an underscore."""
    archive = edited(bundled_archive, name)
    ax: Any = archive.plot(ax=axes())
    ax.figure.canvas.draw()
    both: Any = plot_bands([archive, bundled_archive], ax=axes())
    both.figure.canvas.draw()
    assert both.get_legend().get_texts()[0].get_text()[0] == name[0]
    assert ax.get_title().isprintable()
    assert len(ax.get_title()) <= 40
    assert name[:1] == ax.get_title()[0]


def test_numbers_that_are_none_leave_gaps(bundled_archive: Archive) -> None:
    """An edited archive would end in a traceback, or in a chart of nothing but one bar."""
    phi = np.array([1.0, np.nan, np.inf, -1e300, -2.0, 3.0])
    low = phi + 1  # On the wrong side.
    archive = edited(bundled_archive, phi=phi, phi_low=low, phi_high=np.full(6, np.nan))
    ax: Any = archive.plot(ax=axes())
    ax.figure.canvas.draw()
    heights = [height for *_, height in bars(ax)[0]]
    np.testing.assert_array_equal(heights, [1.0, np.nan, np.nan, np.nan, -2.0, 3.0])
    assert max(map(abs, ax.get_ylim())) < 10


def test_pyplot_is_left_alone_where_axes_are_given(bundled_archive: Archive) -> None:
    """A figure of a program with a window of its own would open a second one."""
    code = (
        "import sys, iaside_onnx; from matplotlib.figure import Figure\n"
        f"archive = iaside_onnx.open_archive({str(bundled_archive.path)!r})\n"
        "archive.plot(ax=Figure().subplots()); print('matplotlib.pyplot' in sys.modules)\n"
        "import matplotlib; matplotlib.use('agg'); from matplotlib import pyplot\n"
        "def show(*_, **__): print('shown')\n"
        "pyplot.show = show\n"
        "first, second = archive.plot(), archive.plot('psi')\n"
        "print(len(pyplot.get_fignums()), first.figure is second.figure)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", "2 False"]


def test_classes_are_rows_in_their_order(table: Archive) -> None:
    """The most fragile class, which comes first, would have the name of another."""
    classes: Any = by_class(table)
    named = [replace(one, name="$\\frac{$" if one.index == 6 else None) for one in classes]
    ax: Any = plot_classes(named, axes())
    ax.figure.canvas.draw()
    labels, predicted = table["label"].tolist(), table["predicted"].tolist()
    assert len(ax.get_yticks()) == len({*labels})
    for place, text in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True):
        name, _, count = text.get_text().rpartition(" ")
        index = 6 if name == "$\\frac{$" else int(name)
        right = [a == b for a, b in zip(predicted, labels, strict=True) if b == index]
        assert count == f"({len(right)})"
        assert ax.lines[0].get_ydata()[place] == place
        assert ax.lines[0].get_xdata()[place] == pytest.approx(sum(right) / len(right))
        left, end = (float(point[0]) for point in ax.collections[0].get_segments()[place])
        assert (left, end) == (classes[place].accuracy.low, classes[place].accuracy.high)
    bottom, top = ax.get_ylim()
    assert bottom > top


def test_classes_without_accuracy_are_refused(table: Archive) -> None:
    """Where labels are the model's own answers all of them would be right."""
    classes = [replace(one, accuracy=None) for one in by_class(table)]
    with pytest.raises(OptionError, match="own answers"):
        plot_classes(classes, axes())
    with pytest.raises(OptionError, match="at least one class"):
        plot_classes([], axes())

"""Functions of archives take an open archive or its path, and say what else they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iaside_onnx import Archive, by_class, interactions, plot_bands, plot_classes, series
from iaside_onnx.errors import ArchiveError, OptionError


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_as_good_as_an_archive(kind: Any, bundled_archive: Archive) -> None:
    """`compare` takes paths, and these end in an AttributeError."""
    path = kind(bundled_archive.path)
    assert repr(by_class(path)) == repr(by_class(bundled_archive))
    np.testing.assert_array_equal(interactions(path).low, interactions(bundled_archive).low)


@pytest.mark.parametrize("several", [False, True])
def test_charts_take_paths(several: bool, bundled_archive: Archive) -> None:
    """Whoever compares files has to open each of them for a chart."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    path = str(bundled_archive.path)
    axes: Any = plot_bands([path, bundled_archive] if several else path, ax=Figure().subplots())
    assert len(axes.containers) == 1 + several
    heights = [bar.get_height() for bar in axes.containers[0]]
    np.testing.assert_allclose(heights, bundled_archive["phi"])


@pytest.mark.parametrize("call", [by_class, interactions, plot_bands], ids=lambda f: f.__name__)
def test_a_path_that_is_not_there_is_one_sentence(call: Any, tmp_path: Path) -> None:
    """A traceback of h5py, or an empty chart."""
    with pytest.raises(ArchiveError, match=r"none\.h5: does not exist"):
        call(tmp_path / "none.h5")


@pytest.mark.parametrize("what", ["path", "archive"])
def test_a_chart_of_classes_is_of_classes(what: str, bundled_archive: Archive) -> None:
    """The characters of a path are taken for classes."""
    given: Any = str(bundled_archive.path) if what == "path" else bundled_archive
    with pytest.raises(OptionError, match=r"plot_classes\(by_class\(archive\)\)"):
        plot_classes(given)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_series_of_one_path_is_one_sentence(kind: Any, tmp_path: Path) -> None:
    """Each character of a path is taken for an archive: "c: does not exist"."""
    with pytest.raises(OptionError, match=r"takes a list of archives in order.*found one"):
        series(kind(tmp_path / "ck"))


def test_an_unknown_variable_in_capitals_is_near(bundled_archive: Archive) -> None:
    """All 28 variables are listed for a capital letter."""
    with pytest.raises(KeyError, match="did you mean 'psi'"):
        bundled_archive["Psi"]

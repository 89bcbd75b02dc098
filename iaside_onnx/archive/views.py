"""What rooms above this one make of an archive: data sets, tables, figures, HTML.

People and completion look for these on the archive, so the classes here have the methods, with
signature and help. What they do belongs to `analysis` and `report`, which import this room and not
the reverse. So a method names a function up there, and its module is imported at the first call.
Archives are read, checked and written without any of it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["VIEWS", "view"]

VIEWS = {
    "to_xarray": ("iaside_onnx.analysis.frames", "to_xarray"),
    "to_dataframe": ("iaside_onnx.analysis.frames", "to_dataframe"),
    "plot": ("iaside_onnx.report.plotting", "plot_bands"),
    "html": ("iaside_onnx.report.notebook", "archive_html"),
    "plot_differences": ("iaside_onnx.report.plotting", "plot_differences"),
    "comparison_words": ("iaside_onnx.report.words", "comparison_words"),
    "comparison_html": ("iaside_onnx.report.notebook", "comparison_html"),
}
"""Module and name of the function behind a method of an archive, or of a comparison of some."""


def view(name: str) -> Callable[..., Any]:
    """The function behind a method; its first argument is the object."""
    module, function = VIEWS[name]
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found

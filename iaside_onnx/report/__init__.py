"""HTML pages and figures from archives."""

from iaside_onnx.report.figure import distribution_figure
from iaside_onnx.report.page import check_page, write_page
from iaside_onnx.report.plotting import plot_bands, plot_classes
from iaside_onnx.report.text import interval_text

__all__ = [
    "check_page",
    "distribution_figure",
    "interval_text",
    "plot_bands",
    "plot_classes",
    "write_page",
]

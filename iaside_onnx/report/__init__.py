"""HTML pages and figures from archives, and numbers as text."""

from iaside_onnx.report.page import check_page, write_report
from iaside_onnx.report.plotting import plot_bands, plot_classes
from iaside_onnx.report.text import interval_text

__all__ = ["check_page", "interval_text", "plot_bands", "plot_classes", "write_report"]

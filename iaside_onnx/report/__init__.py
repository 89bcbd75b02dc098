"""HTML pages and figures from archives."""

from iaside_onnx.report.figure import distribution_figure
from iaside_onnx.report.page import write_page
from iaside_onnx.report.text import interval_text

__all__ = ["distribution_figure", "interval_text", "write_page"]

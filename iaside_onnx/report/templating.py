"""The templates of this room, and how text from outside gets into them: escaped."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["environment"]


def environment() -> Environment:
    """Makes templates of the files in ``templates/``."""
    return Environment(
        loader=PackageLoader("iaside_onnx.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )

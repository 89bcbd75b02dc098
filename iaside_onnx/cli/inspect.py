"""``iaside inspect``: what a model takes and gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from iaside_onnx.cli.commands import Command
from iaside_onnx.cli.console import printable, results, warn, write_json
from iaside_onnx.cli.limits import limited
from iaside_onnx.cli.options import (
    device_options,
    input_layout_option,
    input_size_option,
    json_option,
    output_kind_option,
    output_name_option,
    preprocess_option,
    renamed,
)
from iaside_onnx.model import Inspection, inspect_model
from iaside_onnx.runtime import GraphFacts

__all__ = ["inspect"]


@click.command(cls=Command, short_help="Print what a model takes and gives.")
@click.argument("model", type=click.Path(path_type=Path))
@preprocess_option
@input_size_option
@input_layout_option
@output_name_option
@output_kind_option
@device_options
@json_option
@limited
@renamed("--output", "--output-name")
def inspect(model: Path, as_json: bool, **options: Any) -> None:
    """Print what MODEL, an ONNX file, takes and gives, and how images would be prepared for it.

    \b
    Example:
        iaside inspect models/fashion-cnn.onnx
    """  # noqa: D301  # \b tells click to keep the lines below as they are
    found = inspect_model(model, **options)
    if as_json:
        write_json(_as_json(found))
        return
    if found.warning:
        warn(found.warning)
    console = results()
    for name, value in _lines(found).items():
        console.print(f"{name:<12} {printable(value)}", soft_wrap=True)


def _lines(found: Inspection) -> dict[str, str]:
    facts, signature = found.facts, found.signature
    external = f", {len(facts.external)} external file(s)" if facts.external else ""
    spec = found.preprocess.to_dict() if found.preprocess else {}
    return {
        "model": f"{facts.path}, {facts.size:,} bytes{external}",
        "sha256": facts.sha256,
        "made by": f"{facts.producer or 'unknown'}, {_opset(facts)}",
        "precision": facts.precision,
        "input": f"{signature.input_name}: {signature.takes}",
        "output": f"{signature.output_name}: {found.classes or 'unknown number of'} classes, "
        f"{found.output_kind or 'unknown kind'} ({found.output_note})",
        **({"read as": "; ".join(found.notes)} if found.notes else {}),
        "prepared": found.preprocess_note,
        "": ", ".join(f"{key} {value}" for key, value in spec.items()),
        "provider": f"{found.provider} (installed: {', '.join(found.providers)})",
    }


def _opset(facts: GraphFacts) -> str:
    return "in ONNX Runtime's own format" if facts.is_ort else f"opset {facts.opset}"


def _as_json(found: Inspection) -> dict[str, object]:
    facts, signature = found.facts, found.signature
    return {
        "model": str(facts.path),
        "sha256": facts.sha256,
        "external": dict(facts.external),
        "bytes": facts.size,
        "producer": facts.producer,
        "opset": None if facts.is_ort else facts.opset,
        "precision": facts.precision,
        "input": signature.input_name,
        "dtype": str(signature.dtype),
        "layout": signature.layout,
        "channels": signature.channels,
        "height": signature.height,
        "width": signature.width,
        "batch": signature.batch,
        "output": signature.output_name,
        "classes": found.classes,
        "output_kind": found.output_kind,
        "output_note": found.output_note,
        "notes": list(found.notes),
        "warning": found.warning,
        "preprocess": found.preprocess.to_dict() if found.preprocess else None,
        "preprocess_note": found.preprocess_note,
        "provider": found.provider,
        "providers": found.providers,
    }

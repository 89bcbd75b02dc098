"""Atomic writing of files, preprocessing specs, checksums."""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn


def fail(message: str) -> NoReturn:
    """Ends the script with one line on stderr and exit code 1."""
    print(message, file=sys.stderr)
    raise SystemExit(1)


@contextmanager
def finished_file(target: Path) -> Iterator[Path]:
    """Yields a temporary path that is renamed to `target` if the block raises nothing.

    The temporary path is in a new folder beside the target, because exporters may write more files
    next to the one that they are asked for.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as folder:
        partial = Path(folder) / target.name
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(target)


def write_text(target: Path, text: str) -> None:
    """Writes a UTF-8 text file atomically."""
    with finished_file(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Writes a JSON file atomically, with a final newline."""
    write_text(target, json.dumps(value, indent=2) + "\n")


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_preprocess(
    model: Path,
    *,
    input_size: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    value_range: tuple[float, float] = (0.0, 1.0),
    interpolation: str = "bilinear",
    crop_pct: float = 1.0,
) -> Path:
    """Writes the preprocessing spec of a model beside it.

    The spec means: `input = (lo + (hi - lo) * x - mean) / std`, with x in [0, 1] and
    `value_range = [lo, hi]`.

    Args:
        model: the ONNX file; the spec takes its stem.
        input_size: channels, height, width, in this order for NHWC models too.
        mean: one value a channel, in units of the value range.
        std: one value a channel, in units of the value range.
        value_range: what 0 and 1 become before the mean is subtracted.
        interpolation: how images are resized.
        crop_pct: edge of the centre crop over the shorter side it is cut from.

    Returns:
        the path of the spec.
    """
    target = model.with_suffix(".preprocess.json")
    spec = {
        "input_size": list(input_size),
        "interpolation": interpolation,
        "crop_pct": crop_pct,
        "crop_mode": "center",
        "mean": list(mean),
        "std": list(std),
        "color_order": "rgb",
        "value_range": list(value_range),
    }
    write_json(target, spec)
    return target

"""Find and read preprocessing specifications, and detect their format."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iaside_onnx.errors import ExtraMissingError, PreprocessError, install_extra
from iaside_onnx.images.files import MAX_TEXT_BYTES, read_bytes, read_json
from iaside_onnx.images.foreign import KERAS_MODES, is_hub, is_timm, parse_hub, parse_timm
from iaside_onnx.images.preprocess import Preprocess

__all__ = ["find_preprocess", "parse_preprocess", "read_preprocess"]

_YAML = (".yaml", ".yml")


def read_preprocess(spec: str | Path) -> Preprocess:
    """Read a JSON or YAML file, or take a mode of Keras: ``keras:caffe|tf|torch|raw``.

    Raises:
        PreprocessError: there is no such file or mode, or its content is not valid.
    """
    if isinstance(spec, str) and spec.startswith("keras:"):
        mode = spec.removeprefix("keras:")
        if mode not in KERAS_MODES:
            close = difflib.get_close_matches(mode, KERAS_MODES, n=1)
            hint = f"did you mean keras:{close[0]}" if close else "use one of these"
            modes = ", ".join(f"keras:{name}" for name in KERAS_MODES)
            raise PreprocessError(f"{spec} is not a preprocessing mode of Keras ({modes}); {hint}")
        return KERAS_MODES[mode]
    path = Path(spec)
    return parse_preprocess(_mapping(path), str(path))


def parse_preprocess(data: Mapping[str, object], where: str) -> Preprocess:
    """Parse a specification of ours, of timm or of the hub; its keys tell which.

    Raises:
        PreprocessError: a key or a value is not valid; the message begins with ``where``.
    """
    if is_timm(data):
        return parse_timm(data, where)
    inner = data.get("image_processor")
    if isinstance(inner, Mapping):
        # A processor_config.json of the hub: processors of images and of other things.
        data, where = inner, f"{where}, image_processor"
    if is_hub(data):
        return parse_hub(data, where)
    return Preprocess.from_dict(data, where)


def find_preprocess(model: Path) -> tuple[Preprocess, Path] | None:
    """Find the specification beside a model, and its path; None if there is none.

    Tried in this order: ``<stem>.preprocess.json``, ``.yaml`` and ``.yml``, then
    ``preprocessor_config.json``, then a ``processor_config.json`` with a processor of images, then
    a ``config.json`` written by timm. The last three are those of the hub, where models are in the
    folder ``onnx`` and these files are in the folder above it, which is tried next.

    Raises:
        PreprocessError: the first that exists cannot be read or is not valid.
    """
    for path in (model.with_name(f"{model.stem}.preprocess{end}") for end in (".json", *_YAML)):
        if path.exists():
            return read_preprocess(path), path
    # The parent of a bare name is ".", which has no name.
    folder = model.parent if model.parent.name else model.parent.absolute()
    for place in [model.parent] + [folder.parent] * (folder.name == "onnx"):
        found = _of_the_hub(place)
        if found is not None:
            return found
    return None


def _of_the_hub(folder: Path) -> tuple[Preprocess, Path] | None:
    """The specification in a folder of the hub, and its path; None if there is none."""
    path = folder / "preprocessor_config.json"
    if path.exists():
        return read_preprocess(path), path
    # Many tools write these two, usually without preprocessing.
    for name, holds in (("processor_config.json", _has_processor), ("config.json", is_timm)):
        path = folder / name
        if path.exists():
            data = read_json(path, str(path), PreprocessError)
            if isinstance(data, Mapping) and holds(data):
                return parse_preprocess(data, str(path)), path
    return None


def _has_processor(data: Mapping[str, object]) -> bool:
    return isinstance(data.get("image_processor"), Mapping)


def _mapping(path: Path) -> Mapping[str, object]:
    if path.suffix.lower() in _YAML:
        data = _read_yaml(path)
    elif path.suffix.lower() == ".json":
        data = read_json(path, str(path), PreprocessError)
    else:
        modes = "|".join(KERAS_MODES)
        raise PreprocessError(
            f"{path} is not a preprocessing specification; give a .json, .yaml or .yml file, or "
            f"keras:{modes}"
        )
    if not isinstance(data, Mapping):
        raise PreprocessError(
            f"{path}: a mapping of keys to values was expected, found {type(data).__name__}; "
            "see input_size, interpolation, crop_pct, crop_mode, mean, std"
        )
    return data


def _read_yaml(path: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise ExtraMissingError(
            f"{path} is YAML, which needs PyYAML: {install_extra('yaml')}, or write JSON"
        ) from None
    text = read_bytes(path, MAX_TEXT_BYTES, str(path), PreprocessError)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as failure:
        reason = " ".join(str(failure).split())
        raise PreprocessError(f"{path} is not valid YAML ({reason}); fix or remove it") from None

"""The file that a profile is written to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from iaside_onnx.errors import OptionError
from iaside_onnx.files import check_recorded, check_target, finished_file

__all__ = ["check_profile", "write_profile"]


def check_profile(file: str | Path | None, taken: Iterable[object]) -> None:
    """Find out early whether a profile may be written there.

    Raises:
        OptionError: if it may not.
    """
    if file is None:
        return
    path = Path(file)
    check_target(path)
    check_recorded(path)
    others = [Path(other) for other in taken if isinstance(other, str | Path)]
    if any(path.resolve() == other.resolve() for other in others):
        raise OptionError(f"{path}: is an input or the output; write the profile elsewhere")
    if path.is_dir() or not path.parent.is_dir():
        raise OptionError(f"{path}: is a folder, or its folder does not exist; name a file")
    if path.exists() and not _is_profile(path):
        raise OptionError(f"{path}: is there and is no profile; write the profile elsewhere")


def _is_profile(path: Path) -> bool:
    """Whether a file may be replaced: the profile of an earlier run, or empty."""
    try:
        text = path.read_text(encoding="utf-8")
        return not text or "evaluations_per_second" in json.loads(text)
    except (OSError, ValueError, TypeError):
        return False


def write_profile(path: str | Path, profile: Mapping[str, Any] | None) -> None:
    """Write down where the time went, also of a run that is cut short.

    Raises:
        ArchiveError: if the file system refuses.
    """
    with finished_file(Path(path)) as temporary:
        temporary.write_text(json.dumps(profile, indent=1) + "\n")

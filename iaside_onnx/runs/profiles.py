"""The file that a profile is written to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from iaside_onnx.errors import OptionError
from iaside_onnx.files import finished_file
from iaside_onnx.outputs import check_output_file, check_recorded

__all__ = ["check_profile", "write_profile"]


def check_profile(file: str | Path | None, taken: Iterable[object]) -> None:
    """Find out early whether a profile may be written there.

    Raises:
        OptionError: if it may not.
    """
    if file is None:
        return
    path = Path(file)
    check_recorded(path)
    others = [Path(other) for other in taken if isinstance(other, str | Path)]
    if any(path.resolve() == other.resolve() for other in others):
        raise OptionError(f"{path}: is an input or the output; write the profile elsewhere")
    # A profile of an earlier run is replaced.
    check_output_file(path, [b"evaluations_per_second"], overwrite=True)


def write_profile(path: str | Path, profile: Mapping[str, Any] | None) -> None:
    """Write down where the time went, also of a run that is cut short.

    Raises:
        ArchiveError: if the file system refuses.
    """
    with finished_file(Path(path)) as temporary:
        temporary.write_text(json.dumps(profile, indent=1) + "\n")

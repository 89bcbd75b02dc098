"""Checks of an archive: its file, and the arithmetic from worths to scores."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iaside_onnx.analysis.consistency import contradictions
from iaside_onnx.analysis.estimates import estimate_archives, mean_gains
from iaside_onnx.archive import Archive, check_file, open_archive
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.game import design_names

__all__ = ["Verification", "check", "check_archive", "check_in_child", "refuse_damaged"]

_LONGEST_SECONDS = 1e8
# Bytes a second of an archive that are checked at least, on a slow disk.
_SLOWEST = 1e6
# Sums of float64 in another order, on another processor.
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of checking an archive.

    Attributes:
        archive: the archive that was checked.
        problems: what is wrong and where, one sentence each; empty if nothing is.
        checked: what was checked, in words.
    """

    archive: Archive
    problems: list[str]
    checked: list[str]


def check_archive(path: str | Path, timeout: float = 600.0) -> Verification:
    """Check the schema, checksums, digest and arithmetic of an archive, in a process of its own.

    Args:
        path: the archive.
        timeout: seconds that the checks may take.

    Raises:
        ArchiveError: if the file cannot be read as an archive at all.
        OptionError: if the timeout is not above 0.
    """
    if not 0 < timeout <= _LONGEST_SECONDS:
        raise OptionError(
            f"the timeout must be above 0 and up to {_LONGEST_SECONDS:g} seconds, found {timeout}"
        )
    problems, checked = check_in_child(Path(path), timeout)
    return Verification(open_archive(path), problems, checked)


def check(path: Path) -> tuple[list[str], list[str]]:
    """Check an archive in this process.

    Returns:
        What is wrong, one sentence each, and what was checked, in words.

    Raises:
        ArchiveError: if the file cannot be read as an archive at all.
    """
    problems, checked = check_file(path), ["schema", "checksums", "digest"]
    # The arithmetic of a damaged file says nothing more.
    if not problems:
        archive = open_archive(path)
        if archive.recipe.method not in design_names():
            return [_unknown_method(archive.recipe.method)], checked
        checked.append("arithmetic")
        try:
            problems = list(contradictions(archive)) or list(_arithmetic(archive))
        # From numbers of pairs, draws or blocks that are impossible in the design.
        except (IndexError, ValueError, TypeError, OverflowError, KeyError) as error:
            return [_misfit(error)], checked
    return problems, checked


def _misfit(error: Exception) -> str:
    # The text of other errors is about Python.
    why = f": {error}" if isinstance(error, ArchiveError | IndexError) else ""
    return f"the arithmetic cannot be done, as its numbers do not fit{why}"


def _unknown_method(name: str) -> str:
    return (
        f"the arithmetic cannot be done: this version of iaside does not know the method {name!r}; "
        "upgrade iaside-onnx"
    )


_CHILD = """
import json, signal, sys
from pathlib import Path
from iaside_onnx.analysis.verification import check
from iaside_onnx.errors import ArchiveError
# Ends this process even if the process that started it is gone.
if hasattr(signal, "setitimer"):
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
try:
    print(json.dumps(check(Path(sys.argv[1]))))
except ArchiveError as error:
    print(json.dumps(str(error)))
except MemoryError:
    print(json.dumps(f"{sys.argv[1]}: cannot be checked: there is not enough memory"))
"""


def check_in_child(path: Path, timeout: float = 600.0) -> tuple[list[str], list[str]]:
    """Check an archive in a process of its own, which damage may crash or block; see `check`.

    Raises:
        ArchiveError: if the file cannot be read as an archive, makes HDF5 crash, or takes longer
            than the timeout, in seconds.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our own code, in our own interpreter
            # -P: no module is imported from the working directory, which may be a stranger's.
            [sys.executable, "-P", "-c", _CHILD, str(path), str(2 * timeout)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ArchiveError(
            f"{path}: was not read in {timeout:g} seconds; it is damaged, or larger than that: "
            "give `timeout=`"
        ) from error
    if done.returncode > 0:
        # Behind the name of the exception, as Python prints it.
        said = done.stderr.strip().split("\n")[-1].partition(": ")[2]
        why = f" ({said})" if said else ""
        raise ArchiveError(f"{path}: cannot be checked{why}; restore the file")
    try:
        found = json.loads(done.stdout)
    except ValueError as error:
        raise ArchiveError(
            f"{path}: is damaged so that HDF5 itself fails on it (exit status {done.returncode}); "
            "restore the file"
        ) from error
    if isinstance(found, str):
        raise ArchiveError(found)
    problems, checked = found
    if problems and problems[0] in map(_unknown_method, design_names()):
        # A design that was registered in this process only. The child has read the whole file.
        return check(path)
    return problems, checked


def refuse_damaged(path: Path, done: str) -> None:
    """Refuse an archive from which another one must not be made: that would get a valid digest.

    All that `check` checks is checked, in a process of its own.

    Args:
        path: the archive.
        done: what cannot be done with it, as a participle for the message.

    Raises:
        ArchiveError: if anything is wrong with it, or it cannot be read.
    """
    try:
        size = path.stat().st_size
    # `check` says what is wrong.
    except OSError:
        size = 0
    problems, _ = check_in_child(path, 600.0 + size / _SLOWEST)
    if problems:
        raise ArchiveError(f"{path}: cannot be {done}: {problems[0]} (iaside verify says all)")


def _arithmetic(archive: Archive) -> Iterator[str]:
    phi_image = mean_gains(archive).mean(axis=0)
    rows = np.flatnonzero(
        ~np.isclose(phi_image, archive["phi_image"], _TOLERANCE, _TOLERANCE).all(1)
    )
    if rows.size:
        yield (
            f"phi_image does not follow from the worths for {rows.size} of {len(phi_image)} images,"
            f" the first is {archive['image_id'][rows[0]]}"
        )
        return
    found = estimate_archives([archive])
    names = ["phi", "psi", "sis"]
    recipe = archive.recipe
    # Intervals about the images of the source depend on their number, which old archives lack.
    if recipe.inference == "population" or recipe.population is not None:
        names += [f"{name}_{end}" for name in names for end in ("low", "high")]
    stored: dict[str, Any] = {name: archive[name] for name in names}
    stored |= {"uniform": archive.metadata.uniform, "smallest": archive.metadata.smallest_bands}
    if "phi_se" in archive.names:
        stored["standard_error"] = archive["phi_se"]
    for name, theirs in stored.items():
        mine = np.asarray(getattr(found, name))
        if np.shape(theirs) != mine.shape:
            yield f"{name} does not follow from phi_image: {theirs} is stored, {mine} was found"
            continue
        if not np.allclose(theirs, mine, _TOLERANCE, _TOLERANCE, equal_nan=True):
            yield f"{name} does not follow from phi_image: {theirs} is stored, {mine} was found"

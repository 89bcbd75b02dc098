"""Whether an archive is what it says: its file, and the arithmetic from worths to scores."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Archive, check_file, open_archive
from iaside_onnx.engine.consistency import contradictions
from iaside_onnx.engine.progress import LogProgress, Progress
from iaside_onnx.engine.reevaluation import evaluate_again
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.game import Estimate, PairedDesign, estimate, estimate_blocks, shapley_values
from iaside_onnx.types import Phi

__all__ = ["Verification", "check", "check_in_child", "estimate_again", "verify"]

_ROWS = 256
_SAMPLE = 64
_LONGEST_SECONDS = 1e8
# Sums of float64 in another order, on another processor.
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes:
        archive: that was looked at.
        problems: what is wrong and where, one sentence each; none if all is well.
        checked: what was looked at, in words.
    """

    archive: Archive
    problems: list[str]
    checked: list[str]


def verify(
    path: str | Path,
    *,
    model: str | Path | None = None,
    images: str | Path | NDArray[Any] | None = None,
    sample: int | None = None,
    timeout: float = 600.0,
    progress: Progress | None = None,
) -> Verification:
    """Check an archive's schema, checksums and digest, and its arithmetic.

    Contributions are computed again from the worths, and distribution, score and intervals from
    the contributions. The file is read in a process of its own first, as a damaged one can crash
    HDF5 or keep it busy for ever. With a model, images or a sample, their hashes are compared as
    well, and some worths evaluated again; what is not given is taken from where it was.

    Args:
        path: the archive.
        model: the ONNX file that it is about.
        images: the images that it is about.
        sample: worths to evaluate again, chosen by chance; 64 unless said.
        timeout: seconds that reading the archive may take.
        progress: listens to the evaluation; by default the logger ``iaside_onnx``.

    Raises:
        ArchiveError: if the file is no archive that can be read at all.
        IasideError: if model or images cannot be had.
        OptionError: if the timeout or the sample is not above 0.
    """
    if not 0 < timeout <= _LONGEST_SECONDS:
        raise OptionError(
            f"the timeout must be above 0 and up to {_LONGEST_SECONDS:g} seconds, found {timeout}"
        )
    if sample is not None and sample < 1:
        raise OptionError(f"the sample must be of 1 worth at least, found {sample}")
    problems, checked = check_in_child(Path(path), timeout)
    archive = open_archive(path)
    if not problems and (model, images, sample) != (None, None, None):
        problems, looked = evaluate_again(
            archive, model, images, sample or _SAMPLE, progress or LogProgress()
        )
        checked += looked
    return Verification(archive, problems, checked)


def check(path: Path) -> tuple[list[str], list[str]]:
    """What is wrong with an archive, and what was looked at, in this process.

    Raises:
        ArchiveError: if the file is no archive that can be read at all.
    """
    problems, checked = check_file(path), ["schema", "checksums", "digest"]
    # What is damaged need not add up.
    if not problems:
        checked.append("arithmetic")
        archive = open_archive(path)
        try:
            problems = list(contradictions(archive)) or list(_arithmetic(archive))
        # Numbers of pairs, draws or blocks that no design has.
        except (IndexError, ValueError, TypeError, OverflowError, KeyError) as error:
            problems = [f"the arithmetic cannot be done, as its numbers do not fit: {error}"]
    return problems, checked


_CHILD = """
import json, signal, sys
from pathlib import Path
from iaside_onnx.engine.verification import check
from iaside_onnx.errors import ArchiveError
# Also if nobody is left to stop it.
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
try:
    print(json.dumps(check(Path(sys.argv[1]))))
except ArchiveError as error:
    print(json.dumps(str(error)))
"""


def check_in_child(path: Path, timeout: float = 600.0) -> tuple[list[str], list[str]]:
    """As `check`, in a process of its own.

    Raises:
        ArchiveError: if the file is no archive that can be read, or makes HDF5 fail, or takes
            longer than that many seconds.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our own code, in our own interpreter
            # -P: modules are not looked for in the working directory, which may be a stranger's.
            [sys.executable, "-P", "-c", _CHILD, str(path), str(2 * timeout)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ArchiveError(
            f"{path}: was not read in {timeout:g} seconds; it is damaged, or larger than that: "
            "give --timeout"
        ) from error
    if done.returncode > 0:
        said = " ".join(done.stderr.split("\n")[-2:]).strip()
        raise ArchiveError(f"{path}: cannot be checked ({said}); restore the file")
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
    return problems, checked


def _arithmetic(archive: Archive) -> Iterator[str]:
    forward, backward = _gains(archive)
    phi_image = (forward + backward) / 2
    rows = np.flatnonzero(
        ~np.isclose(phi_image, archive["phi_image"], _TOLERANCE, _TOLERANCE).all(1)
    )
    if rows.size:
        yield (
            f"phi_image does not follow from the worths for {rows.size} of {len(phi_image)} images,"
            f" the first is {archive['image_id'][rows[0]]}"
        )
        return
    found = estimate_again([archive])
    names = ["phi", "psi", "sis"]
    resolved = archive.metadata.options["resolved"]
    # Intervals about these images alone take how many there are, which was not kept at first.
    if resolved.get("about", "population") == "population" or _population(archive) is not None:
        names += [f"{name}_{end}" for name in names for end in ("low", "high")]
    stored: dict[str, Any] = {name: archive[name] for name in names}
    stored |= {"uniform": archive.metadata.uniform, "smallest": archive.metadata.smallest_bands}
    if archive.sampled:
        stored["standard_error"] = archive["phi_se"]
    for name, theirs in stored.items():
        mine = np.asarray(getattr(found, name))
        if np.shape(theirs) != mine.shape:
            yield f"{name} does not follow from phi_image: {theirs} is stored, {mine} was found"
            continue
        if not np.allclose(theirs, mine, _TOLERANCE, _TOLERANCE, equal_nan=True):
            yield f"{name} does not follow from phi_image: {theirs} is stored, {mine} was found"


def estimate_again(parts: Sequence[Archive]) -> Estimate:
    """Phi, psi and SIS over the images of archives of one model and one set of options."""
    first = parts[0]
    population = _population(first)
    if not first.sampled:
        return estimate(np.concatenate([part["phi_image"] for part in parts]), population)
    gains = [_gains(part) for part in parts]
    forward, backward = (np.concatenate(part) for part in zip(*gains, strict=True))
    # Class shares are known of these images; of what they were drawn from they are not.
    strata = first["stratum"] if population is not None and "stratum" in first.names else None
    blocks, draws = (np.concatenate([part[n] for part in parts]) for n in ("block", "draw"))
    return estimate_blocks(forward, backward, blocks, strata, population, draws)


def _population(archive: Archive) -> int | None:
    """How many images the intervals are about, if about these images alone."""
    found = archive.metadata.options["resolved"].get("population")
    return found if isinstance(found, int) and found >= archive["image"].size else None


def _contributions(archive: Archive) -> Phi:
    """Shapley values of each image, some worths at a time."""
    n = archive["image"].size
    return np.concatenate(
        [shapley_values(archive.worth(start, start + _ROWS)) for start in range(0, n, _ROWS)]
    )


def _gains(archive: Archive) -> tuple[Phi, Phi]:
    """Mean gains in the orders of each image, and in their reverses; exact ones are the same."""
    if not archive.sampled:
        found = _contributions(archive)
        return found, found
    design = PairedDesign(archive.bands, archive.metadata.seed)
    pairs, draws = archive["pairs"], archive["draw"]
    sums = np.zeros((2, draws.size, archive.bands))
    for start in range(0, draws.size, _ROWS):
        worth = archive.worth(start, start + _ROWS)
        for count in np.unique(pairs[start : start + _ROWS]):
            own = np.flatnonzero(pairs[start : start + _ROWS] == count)
            both = design.gains(worth[own], draws[start + own], 0, int(count))
            sums[:, start + own] = np.array(both) / count
    return sums[0], sums[1]

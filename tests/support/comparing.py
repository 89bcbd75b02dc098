"""Two archives, bit for bit, read by h5py alone."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

__all__ = ["assert_nothing_left", "assert_same"]

# When a run was, and how it was asked for: an identical run may differ in these.
# The digest is over the others too.
_ITS_OWN = {"started", "finished", "options", "digest"}


def assert_same(first: Path, second: Path, *, notes: bool = True) -> None:
    """Every dataset has the same type and the same values, and what was audited is the same.

    Args:
        first: an archive.
        second: an archive.
        notes: whether what the user was told is the same too.
    """
    aside = _ITS_OWN if notes else _ITS_OWN | {"notes"}
    with h5py.File(first, "r") as a, h5py.File(second, "r") as b:
        assert sorted(a) == sorted(b)
        assert len(a) > 20
        for name in a:
            assert a[name].dtype == b[name].dtype, name
            ours, theirs = np.asarray(a[name][()]), np.asarray(b[name][()])
            assert np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"), name
        assert sorted(a.attrs) == sorted(b.attrs)
        for name in a.attrs.keys() - aside:
            ours, theirs = np.asarray(a.attrs[name]), np.asarray(b.attrs[name])
            assert np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"), name


def assert_nothing_left(output: Path) -> None:
    """Nothing of the run but its output: no folder of work, no temporary file, hidden or not."""
    left = [path.name for path in output.parent.iterdir() if output.name in path.name]
    assert left == [output.name]

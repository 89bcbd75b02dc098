"""Opening HDF5 files, also on file systems that have no locks."""

from __future__ import annotations

import errno
from pathlib import Path

import h5py

__all__ = ["NO_LOCKS", "open_hdf5"]

NO_LOCKS = frozenset([errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL])
"""What file systems without locks answer, as some network folders."""


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading.

    HDF5 locks what it opens, which here guards nothing: files are replaced, never written into. So
    where that cannot be done it is left out. It is not left out everywhere, as HDF5 refuses to open
    a file twice in one process, once with locks and once without, and others may have it open.

    Raises:
        OSError: it cannot be read, or is no HDF5 file.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return h5py.File(path, "r", locking=False)

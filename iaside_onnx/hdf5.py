"""Opening HDF5 files, also on file systems that have no locks."""

from __future__ import annotations

import errno
from pathlib import Path

import h5py

__all__ = ["NO_LOCKS", "open_hdf5"]

NO_LOCKS = frozenset([errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL])
"""Error numbers of file systems without locks, such as some network folders."""


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading.

    HDF5 locks each file that it opens. Archives need no such lock, as they are replaced and never
    written into, so a file that cannot be locked is opened without. Others are opened with a lock:
    HDF5 refuses to open a file with a lock and without in one process, and a caller may have it
    open.

    Raises:
        OSError: if it cannot be read, or is not an HDF5 file.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return h5py.File(path, "r", locking=False)

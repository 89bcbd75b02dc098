"""Changes every byte of a small archive, one at a time, and checks whether `verify` finds it.

    python -m tools.fuzz.flip_bytes tests/data/schema-1-exact.h5 [--every 1] [-o FLIPS.json]

A change is `found` if verify reports a problem, `refused` if the file cannot be opened, `crashed`
or `hung` if HDF5 crashes or hangs (verify reports that of its child process), `harmless` if all
values and attributes are read as before, and otherwise `missed`, which must not happen.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np

from iaside_onnx import Archive, open_archive
from iaside_onnx.analysis import check
from iaside_onnx.errors import ArchiveError
from tools.shared.files import fail

OUTCOMES = ("found", "refused", "harmless", "missed", "raised")
SECONDS = 10
PROGRESS = 5000


def same(found: Archive, whole: Archive) -> bool:
    """Whether values and attributes of two archives are equal."""
    return (
        found.metadata == whole.metadata
        and found.names == whole.names
        and all(
            np.array_equal(found[n], whole[n], equal_nan=found[n].dtype.kind == "f")
            for n in whole.names
        )
    )


def outcome(copy: Path, whole: Archive) -> str:
    """The outcome of one damaged file."""
    try:
        if check(copy)[0]:
            return "found"
        return "harmless" if same(open_archive(copy), whole) else "missed"
    except ArchiveError:
        return "refused"
    except Exception as error:  # noqa: BLE001  # any other error is a defect and is counted
        print(repr(error), file=sys.stderr)
        return "raised"


def in_child(copy: Path, whole: Archive) -> str:
    """The same in a child process, which a damaged file may crash."""
    child = os.fork()
    if child == 0:
        # CPU time, because the machine may be loaded.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        os._exit(OUTCOMES.index(outcome(copy, whole)))
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        return OUTCOMES[os.WEXITSTATUS(status)]
    return "hung" if os.WTERMSIG(status) == signal.SIGPROF else "crashed"


def main() -> None:
    """Counts the outcomes of all changes, and lists those that are defects."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--every", type=int, default=1, help="change every N-th byte")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    words = parser.parse_args()
    data, whole, rng = (
        words.archive.read_bytes(),
        open_archive(words.archive),
        random.Random(words.seed),  # noqa: S311  # not for cryptography
    )
    seen: collections.Counter[str] = collections.Counter()
    named: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "changed.h5"
        for place in range(0, len(data), words.every):
            changed = bytearray(data)
            changed[place] ^= rng.randrange(1, 256)
            copy.write_bytes(changed)
            what = in_child(copy, whole)
            seen[what] += 1
            if what in ("missed", "raised", "hung", "crashed"):
                named.append([what, place, data[place], changed[place]])
            if seen.total() % PROGRESS == 0:
                print(place, dict(seen), file=sys.stderr)
    result = {"bytes": len(data), "changed": seen.total(), **seen, "named": named}
    print(json.dumps(result))
    if words.output:
        words.output.write_text(json.dumps(result, indent=1) + "\n")
    if seen["missed"] + seen["raised"]:
        fail("some changes were missed or raised an unexpected error")


if __name__ == "__main__":
    main()

"""Changes every byte of a small archive, one at a time: does `iaside verify` find it?

    python tools/flip_bytes.py tests/data/schema-1-exact.h5 [--every 1] [-o FLIPS.json]

A change is `found` if verify reports a problem, `refused` if the file is not opened, `crashed` or
`hung` if HDF5 does so, which verify reports of its child; `harmless` if all that is read is what
it was; and `missed` if none of these: there must be none of them.
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
from iaside_onnx.engine.verification import check
from iaside_onnx.errors import ArchiveError
from tools.shared.files import fail

OUTCOMES = ("found", "refused", "harmless", "missed", "raised")
SECONDS = 10
PROGRESS = 5000


def same(found: Archive, whole: Archive) -> bool:
    """Whether two archives read the same, values and attributes."""
    return (
        found.metadata == whole.metadata
        and found.names == whole.names
        and all(
            np.array_equal(found[n], whole[n], equal_nan=found[n].dtype.kind == "f")
            for n in whole.names
        )
    )


def outcome(copy: Path, whole: Archive) -> str:
    """What becomes of one damaged file."""
    try:
        if check(copy)[0]:
            return "found"
        return "harmless" if same(open_archive(copy), whole) else "missed"
    except ArchiveError:
        return "refused"
    except Exception as error:  # noqa: BLE001  # any other is a defect, which is counted
        print(repr(error), file=sys.stderr)
        return "raised"


def in_child(copy: Path, whole: Archive) -> str:
    """The same in a process of its own, which damaged files can take down."""
    child = os.fork()
    if child == 0:
        # Of the processor, as machines are shared.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        os._exit(OUTCOMES.index(outcome(copy, whole)))
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        return OUTCOMES[os.WEXITSTATUS(status)]
    return "hung" if os.WTERMSIG(status) == signal.SIGPROF else "crashed"


def main() -> None:
    """Counts what becomes of each change, and names those that are missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--every", type=int, default=1, help="change every N-th byte")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    words = parser.parse_args()
    data, whole, rng = (
        words.archive.read_bytes(),
        open_archive(words.archive),
        random.Random(words.seed),  # noqa: S311  # which bytes, and no secret
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
        fail("There are changes that were not found.")


if __name__ == "__main__":
    main()

"""Makes the archives that tests read for ever: tests/data/schema-VERSION-exact.h5 and -sampled.h5.

Run once for each new version of the schema; those that are there are never replaced.
"""

import os
from pathlib import Path
from typing import Any

from files import fail

import iaside_onnx
from iaside_onnx.archive import SCHEMA_VERSION

ROOT = Path(__file__).resolve().parent.parent
KINDS: dict[str, dict[str, Any]] = {
    "exact": {"limit": 6},
    "sampled": {"limit": 6, "method": "sampled", "budget": 36},
}


def main() -> None:
    """Decomposes six bundled images, all coalitions and a sample."""
    # Archives keep the names of their inputs as they were given.
    os.chdir(ROOT)
    for name, options in KINDS.items():
        target = ROOT / "tests" / "data" / f"schema-{SCHEMA_VERSION}-{name}.h5"
        if target.exists():
            fail(f"{target} is there already, and stays as it is.")
        archive = iaside_onnx.decompose(
            "models/fashion-cnn.onnx",
            "models/fashion-mnist-1000.npz",
            target,
            bands=3,
            **options,
        )
        print(target, archive["phi"].round(2).tolist(), round(float(archive["sis"]), 2))


if __name__ == "__main__":
    main()

"""One measurement of `compare_trees.py`, in a process of its own: `tree_child.py JOB`, JSON out.

It is run as a file, by the interpreter of the tree that it measures, so that it may import nothing
of this checkout. Trees differ in their internals: it uses the public interface alone.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import iaside_onnx


def main() -> None:
    """Decomposes the images of a job and prints the speed and a hash of the result."""
    job = json.loads(sys.argv[1])
    package = Path(iaside_onnx.__file__).resolve()
    if not package.is_relative_to(job["tree"]):
        raise SystemExit(f"iaside_onnx was imported from {package.parent}, not from {job['tree']}")
    profile_file = Path(job["folder"]) / "profile.json"
    decompose = iaside_onnx.decompose  # imported here, if it is imported lazily
    begun, cpu_begun = time.perf_counter(), time.process_time()
    archive = decompose(
        job["model"],
        job["images"],
        Path(job["folder"]) / "out.h5",
        bands=job["bands"],
        limit=job["limit"],
        batch_size=job["batch_size"],
        threads=job["threads"],
        device="cpu",
        method="exact",
        profile=profile_file,
        # Older trees do not know the option.
        **({"workers": job["workers"]} if job["workers"] > 1 else {}),
    )
    call_seconds = time.perf_counter() - begun
    cpu_seconds = time.process_time() - cpu_begun
    profile = json.loads(profile_file.read_text(encoding="utf-8"))
    answer = {
        "evaluations": profile["evaluations"],
        "evaluations_per_second": profile["evaluations_per_second"],
        "evaluation_seconds": profile["wall"],
        "call_seconds": call_seconds,
        "cpu_seconds": cpu_seconds,
        "worth_sha256": hashlib.sha256(archive["worth"].tobytes()).hexdigest(),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

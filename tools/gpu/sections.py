"""The sections of `check` for correctness: parity, memory, errors, resuming."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import iaside_onnx
from iaside_onnx.errors import IasideError, RuntimeMissingError
from iaside_onnx.runtime import open_session
from iaside_onnx.types import BASELINES, PIXEL_RANGES
from tools.gpu.context import TOLERANCE, Context, Lines, expect
from tools.gpu.networks import SMALL_CLASSES, SMALL_SIZE, write_resnet, write_small
from tools.shared.files import sha256
from tools.shared.paths import FASHION_IMAGES, ROOT, bundled_model
from tools.shared.random_images import write_random_images

_PREFIXES = (
    "nvidia-",
    "cuda-",
    "cupy",
    "onnx",
    "numpy",
    "scipy",
    "h5py",
    "pillow",
    "click",
    "rich",
)
_BIG_BATCH = 512


def environment(context: Context, found: dict[str, Any]) -> None:
    """Record the GPU, its driver, and the versions of packages."""
    found["platform"] = platform.platform()
    found["python"] = platform.python_version()
    found["packages"] = {
        name: d.version
        for d in sorted(metadata.distributions(), key=lambda d: d.metadata["Name"] or "")
        if (name := (d.metadata["Name"] or "").lower()).startswith(_PREFIXES)
    }
    context.attempt(found, "commit", partial(_output, "git", "-C", str(ROOT), "rev-parse", "HEAD"))
    if context.gpu:
        # First, because this is where ONNX Runtime loads the CUDA libraries.
        context.attempt(found, "session", partial(_session, context))
        context.attempt(found, "gpu", partial(_gpu, context))
        query = "name,driver_version,memory.total,power.limit,clocks.max.sm"
        smi = ("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")
        context.attempt(found, "nvidia_smi", partial(_output, *smi))


def _output(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _session(context: Context) -> dict[str, Any]:
    write_small(context.model("first"))
    execution = open_session(context.model("first"), context.device)
    return {
        "runtime": f"{execution.runtime} {execution.runtime_version}",
        "provider": execution.provider,
        "options": execution.session.get_provider_options()[execution.provider],
    }


def _gpu(context: Context) -> dict[str, Any]:
    xp = context.memory().xp
    runtime = xp.cuda.runtime
    index = runtime.getDevice()
    properties = runtime.getDeviceProperties(index)
    free, total = runtime.memGetInfo()
    return {
        "name": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory_bytes": total,
        "free_bytes": free,
        "driver_cuda": runtime.driverGetVersion(),
        "runtime_cuda": runtime.runtimeGetVersion(),
        "cufft": xp.cuda.cufft.getVersion(),
    }


def models(context: Context, found: dict[str, Any]) -> None:
    """Make the networks and images, and check that logits on the CPU are finite."""
    write_resnet(context.model("resnet"), context.shape)
    write_resnet(context.model("resnet-half"), context.shape, half=True)
    write_small(context.model("small"))
    write_small(context.model("normalised"), normalised=True)
    for target, count, size, classes in (
        (context.images(), 128, context.shape.size, context.shape.classes),
        (context.images("small"), 16, SMALL_SIZE, SMALL_CLASSES),
    ):
        write_random_images(target, count, size, size, channels=3, classes=classes)
    for name in ("resnet", "resnet-half", "small", "normalised"):
        size = SMALL_SIZE if name in ("small", "normalised") else context.shape.size
        context.attempt(found, name, partial(_first_look, context.model(name), size))


def _first_look(path: Path, size: int) -> dict[str, Any]:
    session = open_session(path, "cpu").session
    images = np.random.default_rng(1).standard_normal((2, 3, size, size), np.float32)
    (logits,) = session.run(None, {"image": images})
    found = {"bytes": path.stat().st_size, "sha256": sha256(path), "spread": float(logits.std())}
    expect(found, bool(np.isfinite(logits).all()), "logits are finite")
    return found


def parity(context: Context, found: dict[str, Any]) -> None:
    """Compare the same decomposition on the CPU and on the GPU."""
    fashion, resnet = bundled_model("fashion-cnn"), context.model("resnet")
    found["compared"] = "cpu with cuda" if context.gpu else "cpu with cpu in batches of 7"
    found["tolerance_phi"] = TOLERANCE
    few: dict[str, Any] = {"bands": 4, "limit": 16}

    def case(name: str, model: Path, images: Path, **options: Any) -> None:
        context.attempt(found, name, partial(_compare, context, model, images, **options))

    case("fashion-cnn", fashion, FASHION_IMAGES, bands=8, limit=16 if context.quick else 64)
    some = {"method": "sampled", "bands": 8, "limit": 64, "budget": 64 * 27}
    case("fashion-cnn, sampled", fashion, FASHION_IMAGES, **some)
    for baseline in BASELINES:
        for kind in PIXEL_RANGES:
            both = {"baseline": baseline, "pixel_range": kind}
            case(f"fashion-cnn, {baseline}, {kind}", fashion, FASHION_IMAGES, **few, **both)
    case("fashion-cnn-keras", bundled_model("fashion-cnn-keras"), FASHION_IMAGES, **few)
    case("fashion-vit", bundled_model("fashion-vit"), FASHION_IMAGES, **few)
    large: dict[str, Any] = {"bands": 4, "limit": 4, "batch_size": 16}
    case("resnet", resnet, context.images(), **large)
    if context.gpu:
        auto = large | {"batch_size": "auto"}
        case("resnet, CUDA graph", resnet, context.images(), **large, theirs={"cuda_graph": True})
        case("resnet, graph, auto", resnet, context.images(), **auto, theirs={"cuda_graph": True})
        case("resnet, TF32", resnet, context.images(), **large, theirs={"tf32": True}, gate=False)
        half = context.model("resnet-half")
        case("resnet, FP16", resnet, context.images(), **large, theirs={"model": half}, gate=False)


def _compare(
    context: Context,
    model: Path,
    images: Path,
    *,
    theirs: dict[str, Any] | None = None,
    gate: bool = True,
    **options: Any,
) -> dict[str, Any]:
    """Compare a decomposition on the CPU with one on the device with the options ``theirs``."""
    other: dict[str, Any] = {"device": context.device} if context.gpu else {"batch_size": 7}
    other |= theirs or {}
    other_model: Path = other.pop("model", model)
    ours = options | ({"batch_size": 32} if options.get("batch_size") == "auto" else {})
    one = iaside_onnx.decompose(
        model, images, context.archive(), progress=Lines(), **ours, device="cpu"
    )
    two = iaside_onnx.decompose(
        other_model, images, context.archive(), progress=Lines(), **options | other
    )  # fmt: skip
    found = differences(one, two)
    limit = f"phi of each image within {TOLERANCE} nats"
    expect(found, not gate or found["phi_image"] <= TOLERANCE, limit)
    return found


def differences(one: iaside_onnx.Archive, two: iaside_onnx.Archive) -> dict[str, Any]:
    """The largest differences of two archives, and whether their worths are equal bit for bit."""
    names = ("phi", "phi_image", "worth")
    found: dict[str, Any] = {n: float(np.nanmax(np.abs(one[n] - two[n]))) for n in names}
    found["same_bits"] = bool(np.array_equal(one["worth"], two["worth"], equal_nan=True))
    found["largest_worth"] = float(np.nanmax(np.abs(one["worth"])))
    return found


def memory(context: Context, found: dict[str, Any]) -> None:
    """Check that a run continues with smaller batches if memory is too small for the batch size."""
    if not context.gpu:
        found["skipped"] = "needs a GPU"
        return
    context.attempt(found, "halved", partial(_halved, context))


def _halved(context: Context) -> dict[str, Any]:
    model, images = context.model("resnet"), context.images()
    # Enough for the weights and for the output of the first convolution of half a batch.
    limit = model.stat().st_size + _BIG_BATCH // 2 * context.shape.first_bytes
    heard = Lines()
    options: dict[str, Any] = {"bands": 4, "limit": 64, "device": context.device}
    few = iaside_onnx.decompose(
        model, images, context.archive(), progress=heard, batch_size=_BIG_BATCH,
        provider_options={"gpu_mem_limit": str(limit)}, **options,
    )  # fmt: skip
    plain = iaside_onnx.decompose(model, images, context.archive(), progress=Lines(), **options)
    lines = [line for line in [*heard.said, *few.metadata.notes] if "memory" in line]
    sizes = [int(number) for line in lines for number in re.findall(r"\d+", line)]
    found = {"asked": _BIG_BATCH, "limit_bytes": limit, "said": lines, **differences(few, plain)}
    expect(found, any(0 < s < _BIG_BATCH for s in sizes), "a message names the smaller batch size")
    expect(
        found,
        found["worth"] <= TOLERANCE,
        f"worth within {TOLERANCE} nats of a run without a limit",
    )
    return found


def errors(context: Context, found: dict[str, Any]) -> None:
    """Check that impossible requests are refused with a useful message."""
    context.attempt(found, "no such GPU", partial(_refused, context, "small", "cuda:99"))
    if context.gpu:
        context.attempt(found, "operator of the CPU", partial(_left, context))
        options: dict[str, Any] = {"bands": 4, "theirs": {"allow_cpu_nodes": True}}
        both = partial(_compare, context, context.model("normalised"), context.images("small"))
        context.attempt(found, "operator of the CPU, allowed", partial(both, **options))


def _refused(context: Context, model: str, device: str) -> dict[str, Any]:
    """The class and message of the error that a device causes."""
    out = context.archive()
    try:
        iaside_onnx.decompose(
            context.model(model), context.images("small"), out, bands=4, device=device,
            progress=Lines(),
        )  # fmt: skip
    except IasideError as error:
        return {"kind": type(error).__name__, "said": context.plain(error)}
    return {"failed": ["an error"]}


def _left(context: Context) -> dict[str, Any]:
    found = _refused(context, "normalised", context.device)
    kind = RuntimeMissingError.__name__
    expect(found, found.get("kind") == kind, f"a {kind}")
    expect(found, "--allow-cpu-nodes" in found.get("said", ""), "it names --allow-cpu-nodes")
    return found


def resume(context: Context, found: dict[str, Any]) -> None:
    """Check that the batch size found by trial is reported, and kept when a run is resumed."""
    context.attempt(found, "resnet, auto", partial(_told, context))
    context.attempt(found, "interrupted", partial(_interrupted, context))


def _told(context: Context) -> dict[str, Any]:
    heard = Lines()
    archive = iaside_onnx.decompose(
        context.model("resnet"), context.images(), context.archive(), progress=heard,
        bands=8, limit=2, batch_size="auto", device=context.device,
    )  # fmt: skip
    lines = [line for line in heard.said if "batch size" in line]
    chosen = archive.metadata.options["resolved"]["batch_size"]
    found = {"chosen": chosen, "said": lines}
    expect(found, any(str(chosen) in line for line in lines), "a message names the batch size")
    return found


def _interrupted(context: Context) -> dict[str, Any]:
    """Check that an interrupted and resumed run equals an undisturbed one."""
    out = context.archive()
    options: dict[str, Any] = {"bands": 8, "limit": 48, "device": context.device}
    model = bundled_model("fashion-cnn")

    def run(output: Path, progress: Lines, batch_size: Any) -> iaside_onnx.Archive:
        return iaside_onnx.decompose(
            model, FASHION_IMAGES, output, progress=progress, batch_size=batch_size, **options
        )

    found: dict[str, Any] = {}
    try:
        run(out, Lines(stop_after=20), "auto")
        expect(found, False, "the run is interrupted")
    except KeyboardInterrupt:
        pass
    heard, again = Lines(), Lines()
    resumed = run(out, heard, "auto")
    run(out, again, "auto")
    chosen = resumed.metadata.options["resolved"]["batch_size"]
    whole = run(context.archive(), Lines(), chosen)
    found |= {"chosen": chosen, **differences(resumed, whole)}
    found["said"] = [line for line in heard.said if "batch size" in line]
    expect(
        found,
        any("as before" in s for s in found["said"]),
        "the batch size of the first run is used",
    )
    expect(found, any("already finished" in s for s in again.said), "the third run does nothing")
    expect(
        found, found["worth"] <= TOLERANCE, f"worth within {TOLERANCE} nats of an undisturbed run"
    )
    return found

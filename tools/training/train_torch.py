"""Trains one PyTorch model on Fashion-MNIST and exports it; run by `make_models`.

Pixels are normalised outside the graph: `(x - 0.286) / 0.353`, x in [0, 1].
Adversarial training: Madry et al., "Towards Deep Learning Models Resistant to Adversarial
Attacks", ICLR 2018, arXiv:1706.06083.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tools.shared import fashion
from tools.shared.files import write_json, write_preprocess
from tools.training.measure import measure, model_input, pixels
from tools.training.torch_export import check_against_torch, export_onnx
from tools.training.torch_nets import SmallCNN, SmallViT

MEAN, STD = 0.286, 0.353
OPSET = 18
TOLERANCE = 1e-4
BATCH_SIZE = 128

EPSILON = 0.1
TRAIN_STEPS, TRAIN_STEP_SIZE = 7, 0.025
ATTACK_STEPS, ATTACK_STEP_SIZE = 20, 0.01
ATTACK_SEED = 2025
NOISE_MAX = 0.3

# Changes a batch of pixels in [0, 1] before a training step.
Augment = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Recipe:
    """Network and training of one model."""

    net: Callable[[], nn.Module]
    architecture: str
    training: str
    augment: Augment
    epochs: int
    learning_rate: float
    seed: int


def normalise(values: Tensor) -> Tensor:
    """Maps pixels in [0, 1] to inputs of the networks."""
    return (values - MEAN) / STD


def pgd(model: nn.Module, values: Tensor, labels: Tensor, steps: int, step_size: float) -> Tensor:
    """Projected gradient descent in the linf ball of 0.1 around pixels in [0, 1], random start."""
    was_training = model.training
    # The attack must not move the running statistics of batch normalisation.
    model.eval()
    start = values + torch.empty_like(values).uniform_(-EPSILON, EPSILON)
    attacked = start.clamp(0, 1)
    for _ in range(steps):
        attacked.requires_grad_(True)
        loss = cross_entropy(model(normalise(attacked)), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, attacked)
        moved = attacked.detach() + step_size * gradient.sign()
        attacked = torch.clamp(moved, values - EPSILON, values + EPSILON).clamp(0, 1)
    model.train(was_training)
    return attacked.detach()


def leave(_model: nn.Module, values: Tensor, _labels: Tensor) -> Tensor:
    """Standard training: returns the images unchanged."""
    return values


def attack(model: nn.Module, values: Tensor, labels: Tensor) -> Tensor:
    """Adversarial training: PGD against the network in its current state."""
    return pgd(model, values, labels, TRAIN_STEPS, TRAIN_STEP_SIZE)


def add_noise(_model: nn.Module, values: Tensor, _labels: Tensor) -> Tensor:
    """Noise training: Gaussian noise, with a random sigma for each image."""
    sigma = NOISE_MAX * torch.rand(len(values), 1, 1, 1)
    return (values + sigma * torch.randn_like(values)).clamp(0, 1)


CNN = (
    "three 3x3 convolutions (16, 32, 48 channels) with batch normalisation and ReLU, "
    "2x2 max pooling between them, global average pooling, one linear layer"
)
VIT = (
    "vision transformer: 4x4 patches (49 tokens), width 48, 4 pre-norm blocks of 4 heads, "
    "MLP ratio 2, GELU, learned positions, mean of the tokens, one linear layer"
)
RECIPES = {
    "fashion-cnn": Recipe(SmallCNN, CNN, "standard", leave, 20, 4e-3, 1),
    "fashion-cnn-pgd": Recipe(
        SmallCNN,
        CNN,
        f"adversarial: PGD-{TRAIN_STEPS}, linf {EPSILON}, step {TRAIN_STEP_SIZE}, random start",
        attack,
        8,
        4e-3,
        2,
    ),
    "fashion-cnn-noise": Recipe(
        SmallCNN,
        CNN,
        f"Gaussian noise, sigma uniform in [0, {NOISE_MAX}] for each image, clipped to [0, 1]",
        add_noise,
        20,
        4e-3,
        3,
    ),
    "fashion-vit": Recipe(lambda: SmallViT(patch=4, width=48), VIT, "standard", leave, 12, 2e-3, 4),
}


def train(recipe: Recipe) -> nn.Module:
    """Trains on the 60,000 training images: AdamW, one-cycle learning rate."""
    torch.manual_seed(recipe.seed)
    data = fashion.load_train()
    values = torch.from_numpy(pixels(data.images))[:, None]
    labels = torch.from_numpy(data.labels)
    model = recipe.net().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    batches = -(-len(values) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * batches
    )
    for epoch in range(recipe.epochs):
        total, began = 0.0, time.perf_counter()
        for chosen in torch.randperm(len(values)).split(BATCH_SIZE):
            batch = recipe.augment(model, values[chosen], labels[chosen])
            loss = cross_entropy(model(normalise(batch)), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.perf_counter() - began
        print(f"  epoch {epoch + 1}/{recipe.epochs}: loss {total / batches:.4f}, {seconds:.0f} s")
    return model.eval()


def accuracy_under_attack(model: nn.Module) -> float:
    """Accuracy on the 1,000 sample images, each attacked by PGD-20 from one random start."""
    sample = fashion.sample(fashion.load_test())
    torch.manual_seed(ATTACK_SEED)
    values = torch.from_numpy(pixels(sample.images))[:, None]
    labels = torch.from_numpy(sample.labels)
    attacked = pgd(model, values, labels, ATTACK_STEPS, ATTACK_STEP_SIZE)
    with torch.inference_mode():
        return float((model(normalise(attacked)).argmax(dim=1) == labels).double().mean())


def make(name: str, folder: Path) -> dict[str, Any]:
    """Trains, exports and measures one model; returns its record for PROVENANCE.md."""
    recipe = RECIPES[name]
    began = time.perf_counter()
    model = train(recipe)
    seconds = time.perf_counter() - began
    target = folder / f"{name}.onnx"
    export_onnx(model, (1, 28, 28), target, opset=OPSET, input_name="image")
    write_preprocess(target, input_size=(1, 28, 28), mean=(MEAN,), std=(STD,))
    spec = {"value_range": [0, 1], "mean": [MEAN], "std": [STD]}
    inputs = model_input(pixels(fashion.load_test().images[:1000]), spec)[:, np.newaxis]
    return {
        "framework": "PyTorch",
        "versions": {
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "architecture": recipe.architecture,
        "parameters": sum(p.numel() for p in model.parameters()),
        "training": recipe.training,
        "epochs": recipe.epochs,
        "batch_size": BATCH_SIZE,
        "optimiser": f"AdamW, one-cycle learning rate up to {recipe.learning_rate:g}",
        "seed": recipe.seed,
        "threads": torch.get_num_threads(),
        "seconds": round(seconds),
        "largest_difference": check_against_torch(model, target, inputs, TOLERANCE),
        "accuracy_pgd": accuracy_under_attack(model),
        **measure(target),
    }


def main() -> None:
    """Parses the command line and makes one model and its record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--folder", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--record", type=Path, required=True, help="JSON file for the measurements")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    fashion.check_installed()
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    write_json(args.record, make(args.name, args.folder))


if __name__ == "__main__":
    main()

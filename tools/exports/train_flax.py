"""Trains a small CNN of Fashion-MNIST in Flax, and writes its weights as safetensors."""

import argparse
from pathlib import Path

from tools.shared import fashion
from tools.shared.files import fail, finished_file

try:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from flax import nnx
    from safetensors.numpy import save_file
except ModuleNotFoundError as error:
    fail(f"train_flax needs the package {error.name}\n    pip install flax safetensors")

EPOCHS, BATCH, RATE = 4, 128, 1e-3


class CNN(nnx.Module):
    """Two convolutions with batch normalisation, pooling, and a hidden layer; NHWC, logits."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.norm1 = nnx.BatchNorm(16, rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, (3, 3), rngs=rngs)
        self.norm2 = nnx.BatchNorm(32, rngs=rngs)
        self.hidden = nnx.Linear(7 * 7 * 32, 64, rngs=rngs)
        self.head = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits (n, 10) of images (n, 28, 28, 1) in [0, 1]."""
        for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2)):
            x = nnx.relu(norm(conv(x)))
            x = nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        x = nnx.relu(self.hidden(x.reshape(x.shape[0], -1)))
        return self.head(x)


def with_weights(weights: dict[str, np.ndarray]) -> CNN:
    """Returns the network in evaluation mode, with weights by dotted path."""
    model = CNN(nnx.Rngs(0))
    state = nnx.state(model)
    for path, variable in nnx.to_flat_state(state):
        variable.set_value(jnp.asarray(weights[".".join(map(str, path))]))
    nnx.update(model, state)
    model.eval()
    return model


def train(images: np.ndarray, labels: np.ndarray) -> CNN:
    """Trains with Adam; prints one line for each epoch."""
    model = CNN(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)

    @nnx.jit
    def step(model: CNN, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array) -> jax.Array:
        def loss(model: CNN) -> jax.Array:
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    rng = np.random.default_rng(0)
    for epoch in range(EPOCHS):
        order = rng.permutation(len(images))
        losses = [
            step(model, optimizer, images[rows], labels[rows])
            for rows in np.split(order, range(BATCH, len(order), BATCH))
        ]
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {float(jnp.stack(losses).mean()):.3f}")
    return model


def main() -> None:
    """Trains and writes the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.safetensors")
    output = parser.parse_args().output
    fashion.check_installed()
    data = fashion.load_train()
    model = train(data.images[..., None].astype(np.float32) / 255, data.labels)
    weights = {
        ".".join(map(str, path)): np.asarray(variable.get_value())
        for path, variable in nnx.to_flat_state(nnx.state(model))
        if not isinstance(variable, nnx.RngState)
    }
    with finished_file(output) as partial:
        save_file(weights, partial)


if __name__ == "__main__":
    main()

"""Models as code, for `iaside export`: `tools.exports.example_models:lite0` and so on."""

from __future__ import annotations

from typing import Any

import numpy as np

from tools.shared import fashion


def lite0() -> Any:
    """EfficientNet-Lite0 in PyTorch, without its weights."""
    return _lite(0)


def lite1() -> Any:
    """EfficientNet-Lite1 in PyTorch, without its weights."""
    return _lite(1)


def lite2() -> Any:
    """EfficientNet-Lite2 in PyTorch, without its weights."""
    return _lite(2)


def _lite(number: int) -> Any:
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name(f"efficientnet-lite{number}")


def flax_cnn(weights: dict[str, np.ndarray]) -> Any:
    """The Flax CNN of `train_flax` with trained weights, in evaluation mode."""
    from tools.exports.train_flax import with_weights

    return with_weights(weights)


def sklearn_mlp() -> Any:
    """A scikit-learn pipeline, fitted on the 60,000 training images of Fashion-MNIST."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fashion.check_installed()
    train = fashion.load_train()
    rows = train.images.reshape(len(train.images), -1).astype(np.float32) / 255
    network = MLPClassifier((128,), batch_size=256, max_iter=12, random_state=0, verbose=True)
    # Early stopping is off: training always takes 12 epochs.
    network.set_params(n_iter_no_change=100)
    return make_pipeline(StandardScaler(), network).fit(rows, train.labels)

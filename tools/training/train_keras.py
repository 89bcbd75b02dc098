"""Trains the Keras model on Fashion-MNIST and exports it; run by `make_models` and `make_twins`.

The network takes `x / 127.5 - 1`, x in 0..255, in NHWC, and ends in a softmax.
"""

import argparse
import os
import time
import warnings
from pathlib import Path
from typing import Any

# Read by TensorFlow when it is imported: log errors only.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow
import tf2onnx
from keras import layers

from tools.shared import fashion
from tools.shared.files import fail, finished_file, write_json, write_preprocess
from tools.training.measure import measure

NAME = "fashion-cnn-keras"
ARCHITECTURE = (
    "three 3x3 convolutions (16, 32, 48 channels) with batch normalisation and ReLU, "
    "2x2 max pooling between them, global average pooling, one linear layer, softmax; NHWC"
)
OPSET = 18
TOLERANCE = 1e-5
EPOCHS, BATCH_SIZE, LEARNING_RATE, SEED = 12, 128, 4e-3, 5


def build(height: int = 28, width: int = 28) -> keras.Model:
    """Builds the network for grey images of one size; the weights fit any size."""
    image = keras.Input((height, width, 1), name="image")
    x = image
    for index, channels in enumerate((16, 32, 48)):
        if index:
            x = layers.MaxPooling2D(2)(x)
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="probabilities")(x))


def normalise(images: np.ndarray) -> np.ndarray:
    """Maps uint8 images (n, h, w) to float32 (n, h, w, 1) in [-1, 1]."""
    return (images[..., np.newaxis] / np.float32(127.5) - 1).astype(np.float32)


def train() -> keras.Model:
    """Trains on the 60,000 training images: Adam, cosine learning rate."""
    keras.utils.set_random_seed(SEED)
    data = fashion.load_train()
    steps = EPOCHS * -(-len(data.images) // BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model = build()
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(normalise(data.images), data.labels, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=2)
    return model


def export_onnx(model: keras.Model, target: Path) -> None:
    """Writes one ONNX file with Keras's own exporter: dynamic batch, weights inside."""
    with finished_file(target) as partial, warnings.catch_warnings():
        # Keras's copy of tf2onnx looks for a NumPy name that is deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        model.export(
            str(partial),
            format="onnx",
            opset_version=OPSET,
            input_signature=[
                keras.InputSpec(shape=(None, *model.input_shape[1:]), dtype="float32", name="image")
            ],
            verbose=False,
        )
        proto = onnx.load(partial)
        _name_output(proto)
        onnx.save(proto, partial)


def _name_output(proto: onnx.ModelProto) -> None:
    """Gives the output and the batch axis names; the exporter calls them Identity:0 and unk__35."""
    (output,) = proto.graph.output
    (maker,) = [node for node in proto.graph.node if output.name in node.output]
    output.name = maker.output[0] = "probabilities"
    for value in (*proto.graph.input, output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def write_spec(target: Path, height: int = 28, width: int = 28) -> None:
    """Writes the preprocessing spec that says `x / 127.5 - 1` beside a model."""
    write_preprocess(
        target, input_size=(1, height, width), mean=(0.0,), std=(1.0,), value_range=(-1.0, 1.0)
    )


def check_against_keras(model: keras.Model, path: Path, inputs: np.ndarray) -> float:
    """Compares ONNX Runtime with Keras; returns the largest difference of a probability."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: inputs})
    difference = float(np.abs(found - model.predict(inputs, verbose=0)).max())
    if difference > TOLERANCE:
        fail(f"{path}: differs from Keras by {difference:.1e}, more than {TOLERANCE:.0e}")
    return difference


def save_weights(model: keras.Model, target: Path) -> None:
    """Saves the weights, in Keras's order, as `w00`, `w01`, ... of an .npz file."""
    weights = {f"w{index:02}": array for index, array in enumerate(model.get_weights())}
    with finished_file(target) as partial, partial.open("wb") as stream:
        np.savez(stream, **weights)


def record(model: keras.Model, target: Path, seconds: float, threads: int) -> dict[str, Any]:
    """Measures the exported model; returns its record for PROVENANCE.md."""
    inputs = normalise(fashion.load_test().images[:1000])
    return {
        "framework": "Keras on TensorFlow",
        "versions": {
            "keras": keras.__version__,
            "tensorflow": tensorflow.__version__,
            "tf2onnx": tf2onnx.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "architecture": ARCHITECTURE,
        "parameters": sum(weight.shape.num_elements() for weight in model.trainable_weights),
        "training": "standard",
        "epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
        "optimiser": f"Adam, cosine learning rate from {LEARNING_RATE:g}",
        "seed": SEED,
        "threads": threads,
        "seconds": round(seconds),
        "largest_difference": check_against_keras(model, target, inputs),
        **measure(target),
    }


def main() -> None:
    """Trains; writes the weights, and the model with its record if they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="folder to write the model to")
    parser.add_argument("--record", type=Path, help="JSON file for the measurements")
    parser.add_argument("--weights", type=Path, required=True, help=".npz file for the weights")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    fashion.check_installed()
    tensorflow.config.threading.set_intra_op_parallelism_threads(args.threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    tensorflow.config.experimental.enable_op_determinism()

    began = time.perf_counter()
    model = train()
    seconds = time.perf_counter() - began
    save_weights(model, args.weights)
    if args.folder and args.record:
        target = args.folder / f"{NAME}.onnx"
        export_onnx(model, target)
        write_spec(target)
        write_json(args.record, record(model, target, seconds, args.threads))


if __name__ == "__main__":
    main()

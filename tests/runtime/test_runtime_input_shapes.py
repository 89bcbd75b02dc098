"""Inputs that are no four axes: flat, without channels, or of one image.

Each gives what the same network gives for the same pixels in four axes, by ONNX Runtime alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from scipy import special

from iaside_onnx import decompose, extend, inspect_model, verify
from iaside_onnx.errors import ModelError, OptionError
from tests.support.onnx_ends import begin, run, save
from tests.support.onnx_models import Net

GREY, COLOUR = (1, 8, 8), (3, 8, 8)
LABELS = np.array([0, 1, 4, 3, 2, 0, 1])


def pixels(size: tuple[int, int, int]) -> Any:
    """Seven images as arrays of images are, ``(7, 8, 8[, 3])``."""
    shape = (7, 8, 8) if size[0] == 1 else (7, 8, 8, 3)
    return np.random.default_rng(6).integers(0, 256, shape, dtype=np.uint8)


def reshaped(net: Net, axes: list[int | str], path: Path) -> Path:
    """A network that takes its images in other axes, and reshapes them itself."""
    image = [*net.size] if net.layout == "NCHW" else [*net.size[1:], net.size[0]]
    reshape = helper.make_node("Reshape", ["pixels", "shape"], ["image"])
    return save(begin(net.model(), [reshape], axes, {"shape": np.array([-1, *image])}), path)


def check(path: Path, net: Net, **options: Any) -> Any:
    """A run over images gives what the network gives for four axes."""
    images = pixels(net.size)
    made = decompose(path, images, path.with_suffix(".h5"), bands=3, labels=LABELS,
                     batch_size=4, **options)  # fmt: skip
    four = images.reshape(7, 8, 8, -1).astype(np.float32) / np.float32(255)
    if net.layout == "NCHW":
        four = np.moveaxis(four, 3, 1)
    base = net.save(path.with_name("base.onnx"))
    four = np.ascontiguousarray(four)
    groups = [four[i : i + 1] for i in range(7)] if net.batch == 1 else [four]
    raw = np.concatenate([run(base, group) for group in groups])
    scores = special.log_softmax(raw.astype(np.float64), axis=1)
    np.testing.assert_allclose(
        made["log_probability_whole"], scores[made["image"], made["label"]], rtol=2e-6, atol=2e-6
    )
    return made


@pytest.mark.parametrize(
    "axes",
    [["n", 64], ["n", 64, 1], ["n", 1, 64], ["n", 8, 8], ["n", 64, 1, 1], ["n", 1, 1, 64]],
)
def test_grey_images_are_read_by_themselves(axes: list[Any], tmp_path: Path) -> None:
    """Nine of eighty real models would be refused, most of them of MNIST."""
    made = check(reshaped(Net(), axes, tmp_path / "net.onnx"), Net())
    said = [note for note in made.metadata.notes if "numbers are read as a grey image" in note]
    assert len(said) == (0 if axes == ["n", 8, 8] else 1)
    assert made.recipe.preprocess["input_size"] == [1, 8, 8]


@pytest.mark.parametrize("axes", [[64], [8, 8], [1, 64], [8, 8, 1], [1, 8, 8]])
def test_a_model_of_one_image(axes: list[Any], tmp_path: Path) -> None:
    """An input without an axis for the batch would get one, and fail in the runtime."""
    net = Net(batch=1)
    check(reshaped(net, axes, tmp_path / "net.onnx"), net)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("axes", [["n", 192], ["n", "k"], ["n", 1, 192], ["n", 192, 1, 1]])
def test_flat_colour_images_need_size_and_layout(
    layout: Any, axes: list[Any], tmp_path: Path
) -> None:
    """Colours and places would be mixed up: the run would end with wrong numbers."""
    net = Net(size=COLOUR, layout=layout)
    path = reshaped(net, axes, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"`input_size="):
        check(path, net)
    with pytest.raises(ModelError, match=r"`input_layout=`, NCHW .* or NHWC"):
        check(path, net, input_size=COLOUR)
    made = check(path, net, input_size=COLOUR, input_layout=layout)
    assert made.recipe.input_layout == layout


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_one_colour_image_without_a_batch(layout: Any, tmp_path: Path) -> None:
    """(3, H, W) may also be three grey images, so it is asked about; (H, W, 3) cannot."""
    net = Net(size=COLOUR, layout=layout, batch=1)
    axes: list[Any] = [3, 8, 8] if layout == "NCHW" else [8, 8, 3]
    path = reshaped(net, axes, tmp_path / "net.onnx")
    if layout == "NCHW":
        with pytest.raises(ModelError, match=r"1,8,8 or 3,8,8: say which by `input_size="):
            check(path, net)
    check(path, net, input_size=COLOUR if layout == "NCHW" else None)


def test_a_layout_that_four_axes_leave_open(tmp_path: Path) -> None:
    """The message that asks for a layout would name an option that is not there."""
    net = Net(size=(3, 8, 3), layout="NHWC")
    nodes = [helper.make_node("Relu", ["pixels"], ["image"])]
    path = save(begin(net.model(), nodes, ["n", 3, 8, 3]), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="`input_layout="):
        inspect_model(path)
    assert inspect_model(path, input_layout="NCHW").signature.height == 8
    assert inspect_model(path, input_layout="NHWC").signature.height == 3
    with pytest.raises(OptionError, match="choose from NCHW, NHWC"):
        inspect_model(path, input_layout="CHW")  # type: ignore[arg-type]


@pytest.mark.parametrize("axes", [["n", 10], ["n", 63, 1], ["n", 1, 1, 63], ["n", 2, 2, 2, 2]])
def test_what_is_no_image_is_refused(axes: list[Any], tmp_path: Path) -> None:
    """A table would be taken for an image."""
    path = reshaped(Net(), axes, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="fits no image"):
        inspect_model(path)
    with pytest.raises(ModelError, match=r"fits no image|does not fit"):
        inspect_model(path, input_size=GREY)


def test_workers_extension_and_verification_read_it_alike(tmp_path: Path) -> None:
    """Another process would open the model without what the user said of it."""
    net = Net(size=COLOUR, layout="NHWC")
    path = reshaped(net, ["n", 192], tmp_path / "net.onnx")
    words: dict[str, Any] = {
        "input_size": COLOUR, "input_layout": "NHWC", "method": "sampled", "budget": 200,
        "threads": 1,
    }  # fmt: skip
    one = check(path, net, **words)
    images = tmp_path / "images.npz"
    np.savez(images, images=pixels(COLOUR), labels=LABELS)
    del words["budget"]
    two = decompose(path, images, tmp_path / "two.h5", bands=3, batch_size=4, workers=2,
                    budget=200, **words)  # fmt: skip
    np.testing.assert_array_equal(one["worth"], two["worth"])
    more = extend(tmp_path / "two.h5", budget=400)
    assert more.recipe.input_layout == "NHWC"
    assert verify(tmp_path / "two.h5", model=path, images=images, sample=8).problems == []

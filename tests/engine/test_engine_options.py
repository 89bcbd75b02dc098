"""Options of the Python API, and what is decided before the work starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from iaside_onnx.engine.accuracy import chance_warning
from iaside_onnx.engine.preprocessing import complete_preprocess

from iaside_onnx import Options, Preprocess
from iaside_onnx.errors import OptionError, PreprocessError
from iaside_onnx.runtime import Signature


def signature(dtype: str, channels: int = 3) -> Signature:
    return Signature("image", np.dtype(dtype), "NCHW", channels, 8, 8, None, "out", 5, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bands": "3"}, {"bands": 2.0}, {"batch_size": True}, {"seed": -1}, {"partition": "l3"},
        {"device": ["cpu"]}, {"device": None}, {"provider": 3}, {"output_name": b"scores"},
    ],
)  # fmt: skip
def test_wrong_types_are_option_errors(wrong: dict[str, Any]) -> None:
    """A TypeError from deep inside tells a user nothing."""
    with pytest.raises(OptionError):
        Options(**wrong)


def test_what_python_has_is_taken() -> None:
    """Lists of labels, mappings of specs and NumPy's integers are what people hold."""
    options = Options(
        labels=[1, 2],
        preprocess={"mean": 0.5},
        bands=np.int64(4),  # type: ignore[arg-type]  # so
    )
    assert isinstance(options.labels, np.ndarray)
    assert options.preprocess == Preprocess(mean=(0.5,))
    assert type(options.bands) is int


@pytest.mark.parametrize(
    ("spec", "good"),
    [
        (Preprocess(value_range=(0, 255)), True),
        (Preprocess(value_range=(0, 255), color_order="bgr"), True),
        (Preprocess(), False),
        (Preprocess(value_range=(-1, 1)), False),
        (Preprocess(value_range=(0, 255), mean=(103.9, 116.8, 123.7)), False),
    ],
)
def test_uint8_models_refuse_what_rounding_would_destroy(spec: Preprocess, good: bool) -> None:
    """Values from -1 to 1 become 0 or 1: the image is gone, and the run would still succeed."""
    if good:
        assert complete_preprocess(spec, signature("uint8"), None, None).input_size == (3, 8, 8)
        return
    with pytest.raises(PreprocessError, match="keras:raw"):
        complete_preprocess(spec, signature("uint8"), None, None)


@pytest.mark.parametrize(
    ("right", "n", "classes", "warned"),
    [
        # Binomial tails by hand: P(X >= 1) = 0.81 among 10 classes, P(X <= 1) = 0.0003 at 1/2.
        (1, 16, 10, True),
        (0, 200, 1000, True),
        # P(X >= 5) = 0.017 among 10: better than guessing.
        (5, 16, 10, False),
        # One or two images say nothing: P(X <= 0) = 0.5 and 0.25 at 1/2.
        (0, 1, 10, False),
        (0, 2, 10, False),
        # P(X <= 0) = 0.03.
        (0, 5, 10, True),
        (16, 16, 10, False),
    ],
)
def test_chance_is_said_where_there_is_evidence(
    right: int, n: int, classes: int, warned: bool
) -> None:
    """A false alarm teaches people to ignore it; a missed one archives nonsense."""
    labels = np.zeros(n, dtype=np.int64)
    predicted = np.ones(n, dtype=np.int64)
    predicted[:right] = 0
    assert (chance_warning(predicted, labels, classes) is not None) is warned

"""Options of the Python API: what is taken, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iaside_onnx import Options, Preprocess
from iaside_onnx.errors import OptionError


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

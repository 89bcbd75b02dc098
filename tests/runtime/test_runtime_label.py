"""One number a row, where the outputs are: equal to the whole table, and NaN where that refuses."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from iaside_onnx.errors import EvaluationError
from iaside_onnx.runtime import label_log_probabilities, log_probabilities
from iaside_onnx.types import OUTPUT_KINDS, OutputKind

RNG = np.random.default_rng(2)
LOGITS = RNG.normal(scale=4, size=(6, 5)).astype(np.float32)
OUTPUTS = {
    "logits": LOGITS,
    "probabilities": special.softmax(LOGITS, axis=1),
    "log-probabilities": special.log_softmax(LOGITS, axis=1),
}


def on(xp: ModuleType, outputs: Any, kind: OutputKind, labels: Any) -> tuple[Any, Any]:
    found = label_log_probabilities(xp.asarray(outputs), kind, xp.asarray(labels), xp)
    values, floored = (getattr(x, "get", lambda x=x: x)() for x in found)
    return values, floored


@pytest.mark.parametrize("kind", OUTPUT_KINDS)
def test_each_row_has_its_own_label(kind: OutputKind, xp: ModuleType) -> None:
    """Images of a batch would be asked for each other's class."""
    labels = np.array([4, 0, 2, 2, 1, 3])
    values, floored = on(xp, OUTPUTS[kind], kind, labels)
    wanted = special.log_softmax(LOGITS.astype(np.float64), axis=1)[np.arange(6), labels]
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, wanted, rtol=0, atol=1e-5)
    assert not floored.any()


NUMBERS = [0.0, -0.0, 0.25, 1.0, -1.0, 5.0, 1e-39, 1e38, np.inf, -np.inf, np.nan]


@given(
    st.lists(st.lists(st.sampled_from(NUMBERS), min_size=3, max_size=3), min_size=1, max_size=4),
    st.sampled_from(OUTPUT_KINDS),
    st.integers(0, 2),
    st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_nan_stands_where_the_definition_refuses(
    rows: list[list[float]], kind: OutputKind, label: int, dtype: Any
) -> None:
    """A NaN or an infinity of the model would be archived as a worth, or a good row be lost."""
    with np.errstate(over="ignore"):
        outputs = np.array(rows).astype(dtype)
    values, floored = label_log_probabilities(outputs, kind, np.full(len(rows), label))
    for row, value, mark in zip(outputs, values, floored, strict=True):
        try:
            wanted, marks = log_probabilities(row[None], kind)
        except EvaluationError:
            assert np.isnan(value)
            assert not mark
        else:
            np.testing.assert_allclose(value, wanted[0, label], rtol=1e-6, atol=1e-6)
            assert mark == marks[0, label]

"""The kind of outputs, and their log-probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from iaside_onnx import inspect_model
from iaside_onnx.errors import EvaluationError, ModelError
from iaside_onnx.runtime import (
    floor_of,
    label_log_probabilities,
    log_probabilities,
    read_graph,
    resolve_output_kind,
)
from iaside_onnx.types import OutputKind
from tests.support.onnx_models import Ending, Net

LOGITS = np.random.default_rng(0).normal(0, 3, (6, 5))
PROBABILITIES = special.softmax(LOGITS, axis=1)


@pytest.mark.parametrize(
    ("ending", "tail", "kind"),
    [
        ("logits", (), "logits"),
        ("logits", ("Identity", "Cast"), "logits"),
        ("softmax", (), "probabilities"),
        ("softmax", ("Identity",), "probabilities"),
        ("softmax", ("Cast", "Reshape"), "probabilities"),
        ("log-softmax", (), "log-probabilities"),
        ("log-softmax", ("Reshape", "Identity"), "log-probabilities"),
        ("log-of-softmax", (), "log-probabilities"),
        ("log-of-softmax", ("Cast",), "log-probabilities"),
    ],
)
def test_the_graphs_end_and_its_values_tell_the_kind(
    ending: Ending, tail: Any, kind: str, tmp_path: Path
) -> None:
    """A softmax on top of a softmax, as the reference code has it, flattens every contribution."""
    path = Net(ending=ending, tail=tail).save(tmp_path / "net.onnx")
    assert read_graph(path).output_hints == {"out": kind}
    found = inspect_model(path)
    assert (found.output_kind, found.classes) == (kind, 5)
    assert found.output_note == "by the graph's end and its values"


@pytest.mark.parametrize(
    ("sample", "kind"),
    [(PROBABILITIES, "probabilities"), (np.log(PROBABILITIES), "log-probabilities"),
     (LOGITS, "logits"), (np.abs(LOGITS) + 2, "logits"), (-np.abs(LOGITS), "logits")],
)  # fmt: skip
def test_values_tell_the_kind_where_the_graph_does_not(sample: NDArray[Any], kind: str) -> None:
    """A graph may end in operators without a rule."""
    assert resolve_output_kind(None, sample, "net")[0] == kind
    assert resolve_output_kind(None, sample.astype(np.float16), "net")[0] == kind


def test_probabilities_behind_a_plain_matrix_product_are_found() -> None:
    """The end looks like logits, as after a mean over an ensemble, but the values are not."""
    kind, why = resolve_output_kind("logits", PROBABILITIES, "net")
    assert kind == "probabilities"
    assert "values" in why


def test_a_sigmoid_is_refused(tmp_path: Path) -> None:
    """Independent scores are no distribution over classes, and there is no log p(y | x)."""
    path = Net(ending="sigmoid").save(tmp_path / "net.onnx")
    assert read_graph(path).output_hints == {"out": "sigmoid"}
    with pytest.raises(ModelError, match=r"net: .*no softmax.*`output_kind="):
        resolve_output_kind(None, special.expit(LOGITS), "net")
    found = inspect_model(path)
    assert found.output_kind is None
    assert "no softmax" in found.output_note


@pytest.mark.parametrize("hint", ["probabilities", "log-probabilities"])
def test_a_graph_that_its_values_contradict_is_refused(hint: Any) -> None:
    """Such as a softmax over the batch, or over positions, instead of over the classes."""
    for sample in (LOGITS, special.softmax(LOGITS, axis=0)):
        with pytest.raises(ModelError, match=f"net: the graph ends in {hint}.*`output_kind="):
            resolve_output_kind(hint, sample, "net")


def test_logits_of_any_size_become_log_probabilities() -> None:
    """exp(1e4) overflows, and 1e4 + log(1) loses nothing."""
    logits = np.array([[1e4, 0.0, -1e4], [3.0, 2.0, 1.0]], dtype=np.float32)
    values, floored = log_probabilities(logits, "logits")
    assert values.dtype == np.float64
    assert values[0].tolist() == [0.0, -1e4, -2e4]
    wanted = np.log(np.exp([3, 2, 1]) / np.exp([3, 2, 1]).sum())
    np.testing.assert_allclose(values[1], wanted, rtol=1e-14)
    assert not floored.any()


def test_the_three_kinds_agree() -> None:
    wanted = np.log(PROBABILITIES)
    for outputs, kind in ((LOGITS, "logits"), (PROBABILITIES, "probabilities"),
                          (wanted, "log-probabilities")):  # fmt: skip
        values, _ = log_probabilities(outputs, kind)  # type: ignore[arg-type]  # a tuple of words
        np.testing.assert_allclose(values, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "tiny"), [(np.float32, 2.0**-126), (np.float16, 2.0**-14), (np.float64, 2.0**-1022)]
)
def test_probabilities_below_the_type_are_raised_and_marked(dtype: Any, tiny: float) -> None:
    """log(0) would spoil the image; an unmarked floor would pass for a measurement."""
    assert floor_of(np.dtype(dtype)) == tiny
    outputs = np.array([[1.0, 0.0, tiny, tiny / 2]], dtype=dtype)
    values, floored = log_probabilities(outputs, "probabilities")
    assert floored.tolist() == [[False, True, False, True]]
    np.testing.assert_allclose(values, [[0.0, *[np.log(tiny)] * 3]])


@pytest.mark.parametrize("kind", ["logits", "probabilities", "log-probabilities"])
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_what_is_no_number_is_an_error(kind: Any, value: float, word: str) -> None:
    outputs = np.array([[0.5, 0.5], [0.5, value]])
    with pytest.raises(EvaluationError, match=word):
        log_probabilities(outputs, kind)


def test_a_negative_probability_is_an_error() -> None:
    """Its logarithm would be NaN."""
    with pytest.raises(EvaluationError, match="negative"):
        log_probabilities(np.array([[1.1, -0.1]]), "probabilities")


@pytest.mark.parametrize("kind", ["logits", "log-probabilities"])
def test_a_class_of_no_probability_spoils_only_itself(kind: OutputKind) -> None:
    """Log(Softmax) that underflows, or a masked class: other classes keep their values."""
    halves = np.log(np.array([[0.5, 0.5]]))
    outputs = np.array([[*halves[0], -np.inf]], dtype=np.float32)
    values, floored = log_probabilities(outputs, kind)
    np.testing.assert_allclose(values[:, :2], halves, atol=1e-6)
    np.testing.assert_allclose(values[:, 2], np.log(1.1754944e-38), atol=1e-6)
    assert floored.tolist() == [[False, False, True]]


def test_minus_infinity_for_every_class_is_no_answer() -> None:
    """If floored, it would pass for a uniform distribution."""
    with pytest.raises(EvaluationError, match="every class"):
        log_probabilities(np.full((1, 3), -np.inf, dtype=np.float32), "log-probabilities")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_one_label_is_that_column_of_all(dtype: str, scale: float) -> None:
    """The fast computation for one label would differ from the definition, or overflow."""
    logits = (scale * np.random.default_rng(0).standard_normal((50, 7))).astype(dtype)
    reference = special.log_softmax(logits.astype(np.float64), axis=1)
    for label in range(7):
        values, floored = label_log_probabilities(logits, "logits", label)
        np.testing.assert_allclose(values, reference[:, label], rtol=1e-6, atol=1e-6)
        assert not floored.any()

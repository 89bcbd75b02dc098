"""Intervals and tests: against SciPy, and by maximising likelihoods on a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from iaside_onnx.analysis import Interval
from iaside_onnx.analysis.statistics import (
    mcnemar,
    mean_interval,
    paired_difference,
    proportion_interval,
)


@pytest.mark.parametrize(("right", "n"), [(0, 7), (7, 7), (1, 30), (450, 500)])
@pytest.mark.parametrize("level", [0.95, 0.999])
def test_proportions_have_the_exact_interval(right: int, n: int, level: float) -> None:
    """An approximate one is too short near 0 and 1, where accuracies are."""
    plain = stats.binomtest(right, n).proportion_ci(level, method="exact")
    found = proportion_interval(right, n, level)
    np.testing.assert_allclose((found.low, found.high), (plain.low, plain.high), rtol=1e-9)
    assert found.value == right / n


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (3, 12), (7, 7), (40, 25)])
def test_mcnemar_is_the_binomial_test_of_the_pairs_that_differ(gained: int, lost: int) -> None:
    """The chi-squared approximation is wrong where few pairs differ."""
    wanted = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(wanted, rel=1e-9)


def test_means_have_student_t_intervals() -> None:
    """The normal quantile is too small for a few images."""
    values = np.random.default_rng(0).standard_normal(9).astype(np.float32)
    plain: Any = stats.ttest_1samp(values.astype(float), 0).confidence_interval(0.97)
    found = mean_interval(values, 0.97)
    np.testing.assert_allclose((found.low, found.high), plain, rtol=1e-6)
    assert np.isnan(mean_interval(values[:1]).low)


def brute(gained: int, lost: int, n: int, delta: float) -> float:
    """Score statistic of a difference, with the constrained likelihood maximised on a grid."""
    least = max(0.0, -delta)
    p = np.linspace(least, (1 - delta) / 2, 200_001)[1:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihood = (
            (gained * np.log(p + delta) if gained else 0)
            + (lost * np.log(p) if lost else 0)
            + (n - gained - lost) * np.log(np.maximum(1 - 2 * p - delta, 1e-300))
        )
    best = p[np.nanargmax(likelihood)]
    return float((gained - lost - n * delta) / np.sqrt(n * (2 * best + delta * (1 - delta))))


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(3, 12, 100), (0, 1, 44), (0, 5, 30), (6, 0, 20), (9, 8, 60)]
)
def test_bounds_are_where_the_score_test_rejects(gained: int, lost: int, n: int) -> None:
    """The likelihood is maximised on a grid here, and in closed form there."""
    found = paired_difference(gained, lost, n)
    assert brute(gained, lost, n, found.low) == pytest.approx(1.959964, abs=2e-3)
    assert brute(gained, lost, n, found.high) == pytest.approx(-1.959964, abs=2e-3)


@pytest.mark.parametrize("n", [1, 5, 40])
def test_tables_without_a_change_or_with_nothing_else(n: int) -> None:
    """Where no pair differs there is still an interval; where all do, it ends at 1."""
    none = paired_difference(0, 0, n)
    assert none.value == 0
    assert none.low == pytest.approx(-none.high, abs=1e-9)
    assert 0 < none.high <= 1
    all_gained, all_lost = paired_difference(n, 0, n), paired_difference(0, n, n)
    assert (all_gained.value, all_gained.high) == (1, 1)
    assert (all_lost.value, all_lost.low) == (-1, -1)
    assert all_gained.low == pytest.approx(-all_lost.high, abs=1e-9)


def test_the_sign_of_an_interval() -> None:
    """An undefined or wide interval is not certain."""
    assert Interval(1, 0.5, 2).sign == 1
    assert Interval(-1, -2, -0.5).sign == -1
    assert Interval(1, -1, 2).sign == 0
    assert Interval(1, np.nan, np.nan).sign == 0

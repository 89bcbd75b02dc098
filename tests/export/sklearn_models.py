"""scikit-learn models to export, good and bad."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


@cache
def digits() -> tuple[Any, Any]:
    """Rows in [0, 1] and their labels."""
    rows, labels = load_digits(return_X_y=True)
    return (rows / 16).astype(np.float32), labels


def pipeline() -> Any:
    rows, labels = digits()
    network = MLPClassifier((16,), max_iter=200, random_state=0)
    return make_pipeline(StandardScaler(), network).fit(rows, labels)


def named() -> Any:
    """Its classes are strings."""
    rows, labels = digits()
    return LogisticRegression(max_iter=500).fit(rows, NAMES[labels])


def forest() -> Any:
    rows, labels = digits()
    return RandomForestClassifier(10, random_state=0).fit(rows, labels)


def margins() -> Any:
    """Scores without probabilities."""
    rows, labels = digits()
    return LinearSVC().fit(rows, labels)


def colours() -> Any:
    """Rows of 4 x 3 colour images."""
    rng = np.random.default_rng(0)
    rows = rng.random((60, 36), dtype=np.float32)
    return LogisticRegression().fit(rows, np.arange(60) % 3)


def unfitted() -> Any:
    return LogisticRegression()


def regression() -> Any:
    return LinearRegression().fit(*digits())

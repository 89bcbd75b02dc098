"""An ONNX Runtime session that fails when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from iaside_onnx.runtime import Classifier

__all__ = ["failing", "limited"]


class _Binding:
    """A session's binding that knows its batch size."""

    def __init__(self, binding: Any) -> None:
        self.binding = binding
        self.rows = 0
        self.bind_output = binding.bind_output

    def bind_input(
        self, name: str, kind: str, index: int, dtype: Any, shape: tuple[int, ...], pointer: int
    ) -> None:
        self.rows = shape[0]
        self.binding.bind_input(name, kind, index, dtype, shape, pointer)


class _Session:
    def __init__(self, session: Any, check: Callable[[int], None]) -> None:
        self._session, self._check = session, check

    def io_binding(self) -> _Binding:
        return _Binding(self._session.io_binding())

    def run_with_iobinding(self, binding: _Binding, options: Any) -> None:
        self._check(binding.rows)
        self._session.run_with_iobinding(binding.binding, options)

    def run(self, *args: Any) -> Any:
        return self._session.run(*args)


def failing(classifier: Classifier, check: Callable[[int], None]) -> Classifier:
    """The classifier with a session that calls ``check`` with the batch size before each run."""
    session = _Session(classifier.execution.session, check)
    execution = replace(classifier.execution, session=session)
    return Classifier(classifier.facts, classifier.signature, execution, classifier.memory)


def limited(classifier: Classifier, fits: int, error: Exception) -> Classifier:
    """The classifier with a session that raises ``error`` for batches of more than ``fits``."""

    def check(rows: int) -> None:
        if rows > fits:
            raise error

    return failing(classifier, check)

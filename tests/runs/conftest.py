"""What executors evaluate in their tests."""

from __future__ import annotations

import pytest

from tests.runs.executor_contract import Work, make_work


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Jobs over random images, and their shards."""
    return make_work(tmp_path_factory.mktemp("work"))

"""Each design keeps the contract of designs."""

from __future__ import annotations

import pytest

from iaside_onnx.errors import OptionError
from iaside_onnx.game import design_names, make_design
from tests.game.design_contract import DesignContract


class TestExact(DesignContract):
    name = "exact"
    bands = (4, 2, 7)


class TestPaired(DesignContract):
    name = "sampled"
    bands = (6, 2, 5, 8, 64)


def test_every_design_is_tested() -> None:
    """A new design without the tests that it must pass."""
    tested = {contract.name for contract in DesignContract.__subclasses__()}
    assert tested == set(design_names())


def test_an_unknown_design_is_named() -> None:
    """A KeyError tells a user nothing."""
    with pytest.raises(OptionError, match="unknown method 'owen': choose from exact, sampled"):
        make_design("owen", 4, 0)

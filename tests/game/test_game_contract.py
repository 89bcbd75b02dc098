"""What every design promises, of each design."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iaside_onnx.game import ExactDesign, PairedDesign
from tests.game.design_contract import DesignContract
from tests.game.single_permutation import SinglePermutationDesign, registered


class TestExactDesign(DesignContract):
    design = ExactDesign
    exact = True


class TestPairedDesign(DesignContract):
    design = PairedDesign


class TestSinglePermutationDesign(DesignContract):
    design = SinglePermutationDesign

    @pytest.fixture(autouse=True)
    def known(self) -> Iterator[None]:
        with registered():
            yield

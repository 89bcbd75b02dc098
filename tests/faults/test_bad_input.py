"""Bad input of every kind: one sentence, the right exit status, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from iaside_onnx.runtime import available_providers
from tests.faults import bad_images, bad_models, bad_options, bad_strangers
from tests.support.bad_case import Case
from tests.support.command import in_process, in_subprocess

CASES = [*bad_models.CASES, *bad_images.CASES, *bad_options.CASES, *bad_strangers.CASES]

# What differs between this process and a user's: imports, warnings, native output, exit.
SEPARATE = {"model of random bytes", "npz of objects", "17 bands", "one JPEG cut short"}


@pytest.mark.usefixtures("folder")
def test_good_input_succeeds() -> None:
    """Otherwise the rows below could fail for a reason that is not theirs."""
    in_process(*Case("good", "").words).succeeds()
    assert Path("out.h5").is_file()


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name.replace(" ", "-")) for c in CASES])
def test_bad_input_is_refused_in_one_sentence(case: Case, folder: Path) -> None:
    """A traceback, a vague message, a wrong status, a file left over, or a pickle that is run."""
    if case is bad_options.CUDA_ABSENT and "CUDAExecutionProvider" in available_providers():
        pytest.skip("the installed ONNX Runtime has CUDA")
    case.make(folder)
    run = in_subprocess if case.name in SEPARATE else in_process
    run(*case.words).fails(case.says, code=case.code)
    assert not (folder / "out.h5").exists()
    assert not list(folder.rglob("*.tmp"))
    assert not (folder / bad_images.TRAP).exists()


def test_the_trap_would_be_sprung(folder: Path) -> None:
    """A pickle that does nothing when it is loaded would prove nothing above."""
    import numpy as np

    bad_images.objects_npy(folder)
    np.load(folder / "images.npy", allow_pickle=True)
    assert (folder / bad_images.TRAP).exists()

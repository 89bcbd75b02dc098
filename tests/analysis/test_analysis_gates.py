"""Gates: three answers, each where it belongs, and how many images would tell."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import stats

from iaside_onnx import Archive, compare, decompose, open_archive
from iaside_onnx.analysis import GATE_LEVEL, Gate, GateKind, GateResult, check_gates
from iaside_onnx.archive import digest_of
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.report.gate_words import advice
from tests.support.planted import planted
from tests.support.sampling import CNN, PICTURES

N, BANDS = 200, 3


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred images and three bands; all are said to be right."""
    folder = tmp_path_factory.mktemp("gates")
    decompose(CNN, PICTURES, folder / "made.h5", bands=BANDS, limit=N, threads=1)
    return planted(folder / "made.h5", folder / "reference.h5")


def asked(original: Path, other: Path, *texts: str) -> list[GateResult]:
    """The answers of gates, of which each text has the kind in front, such as ``margin phi=1``."""
    gates = []
    for text in texts:
        kind, _, rest = text.partition(" ")
        gates.append(Gate.parse("margin" if kind == "margin" else "at_least", rest))
    return check_gates(compare(original, other), gates)


def exact(right: int, n: int = N) -> tuple[float, float]:
    """The interval of Clopper and Pearson, by SciPy."""
    found: Any = stats.binomtest(right, n).proportion_ci(GATE_LEVEL)
    return found.low, found.high


@pytest.mark.parametrize(
    ("wrong", "answer"), [(0, "holds"), (10, "undecided"), (40, "fails")], ids=str
)
def test_a_margin_of_accuracy(original: Path, tmp_path: Path, wrong: int, answer: str) -> None:
    """A model that is worse is shipped, or one that is not is kept back."""
    other = planted(original, tmp_path / "o.h5", wrong=range(wrong))
    (found,) = asked(original, other, "margin accuracy=0.05")
    assert found.answer == answer
    assert found.measured.value == pytest.approx(-wrong / N)
    # Where nothing but losses differ, the exact interval of their share is near the score interval.
    low, high = exact(wrong)
    assert found.measured.low == pytest.approx(-high, abs=0.02)
    assert found.measured.high == pytest.approx(-low, abs=0.03)
    assert found.images == N


@pytest.mark.parametrize("wrong", [0, 10, 30, 60])
def test_a_least_accuracy_is_decided_by_the_exact_interval(
    original: Path, tmp_path: Path, wrong: int
) -> None:
    """An accuracy of 0.95 of 200 images would be taken for one of at least 0.95."""
    other = planted(original, tmp_path / "o.h5", wrong=range(wrong))
    (found,) = asked(original, other, "at_least accuracy=0.9")
    low, high = exact(N - wrong)
    np.testing.assert_allclose((found.measured.low, found.measured.high), (low, high))
    assert found.answer == ("holds" if low >= 0.9 else "fails" if high < 0.9 else "undecided")


def exact_share(share: float, n: int) -> tuple[float, float]:
    """The interval of Clopper and Pearson for a share, which may be no whole number of images."""
    tail, right = (1 - GATE_LEVEL) / 2, share * n
    low = stats.beta.ppf(tail, right, n - right + 1)
    return float(low), float(stats.beta.ppf(1 - tail, right + 1, n - right))


def fewest(tells: Callable[[int], bool]) -> int:
    """The smallest number of images that tells."""
    return next(n for n in range(N, 100 * N) if tells(n))


def test_models_that_agree_need_few_images(original: Path, tmp_path: Path) -> None:
    """Without a change the interval narrows with n, not with its root: five times too many."""
    other = planted(original, tmp_path / "o.h5")
    (found,) = asked(original, other, "margin accuracy=0.01")
    # Tango's interval without a change: z^2 / (n + z^2).
    square = stats.norm.ppf((1 + GATE_LEVEL) / 2) ** 2
    wanted = square / 0.01 - square
    assert found.answer == "undecided"
    assert found.needed is not None
    assert wanted <= found.needed <= 1.02 * wanted + 10


def test_how_many_images_would_tell(original: Path, tmp_path: Path) -> None:
    """Whoever takes as many as were advised has the same answer once more."""
    other = planted(original, tmp_path / "o.h5", wrong=range(14))
    (found,) = asked(original, other, "at_least accuracy=0.9")
    assert found.answer == "undecided"
    wanted = fewest(lambda n: exact_share(0.93, n)[0] >= 0.9)
    assert found.needed is not None
    assert wanted <= found.needed <= 1.1 * wanted
    # Rounded up to two digits.
    assert str(found.needed)[2:].strip("0") == ""
    assert f"about {found.needed:,} images would tell" in advice(found)


def test_an_estimate_below_the_limit_needs_its_upper_half(original: Path, tmp_path: Path) -> None:
    """The number for the wrong bound."""
    other = planted(original, tmp_path / "o.h5", wrong=range(24))
    (found,) = asked(original, other, "at_least accuracy=0.9")
    wanted = fewest(lambda n: exact_share(0.88, n)[1] < 0.9)
    assert found.answer == "undecided"
    assert found.needed is not None
    assert wanted <= found.needed <= 1.1 * wanted


def test_an_estimate_on_the_limit_has_no_number(original: Path, tmp_path: Path) -> None:
    """A division by zero, or a run of a week that tells nothing."""
    other = planted(original, tmp_path / "o.h5", wrong=range(20))
    for found in asked(original, other, "at_least accuracy=0.9", "margin accuracy=0.1"):
        assert (found.answer, found.needed) == ("undecided", None)
        assert "no number of images" in advice(found)


def test_at_least_one_image_more(original: Path, tmp_path: Path) -> None:
    """An advice to take the images that are there already."""
    other = planted(original, tmp_path / "o.h5", wrong=range(10))
    (found,) = asked(original, other, "at_least accuracy=0.9")
    limit = math.nextafter(found.measured.low, 1)
    (found,) = asked(original, other, f"at_least accuracy={limit!r}")
    assert found.answer == "undecided"
    assert found.needed is not None
    assert N < found.needed <= 1.1 * N


def test_phi_in_no_band_and_the_worst_is_named(original: Path, tmp_path: Path) -> None:
    """One band that breaks hides among others, or another is named."""
    noise = np.random.default_rng(0).standard_normal((N, BANDS))
    noise -= noise.mean(axis=0)
    for shift, answer, band in (
        ([0.0, 5.0, 0.0], "holds", None),
        ([5.0, -2.0, -0.6], "fails", 1),
        ([-1.0, -2.0, 5.0], "fails", 1),
        ([5.0, 0.0, -0.6], "undecided", 2),
    ):
        other = planted(original, tmp_path / "o.h5", phi=noise + shift)
        (found,) = asked(original, other, "margin phi=0.5")
        assert found.answer == answer
        assert band in (None, found.band)
        k = found.band
        assert k is not None
        # All bands together at GATE_LEVEL.
        plain: Any = stats.ttest_1samp(noise[:, k] + shift[k], 0)
        ends = plain.confidence_interval(1 - (1 - GATE_LEVEL) / BANDS)
        np.testing.assert_allclose((found.measured.low, found.measured.high), ends)


@pytest.mark.parametrize(
    ("shifts", "band"),
    [
        # Half widths are about 0.18 and 0.74; the limit is -0.5.
        pytest.param([0.45, 0.2, 0.0], 0, id="the one that holds last"),
        pytest.param([0.6, 0.55, 0.0], 0, id="the one that fails first"),
        pytest.param([0.4, 0.6, 0.0], 1, id="one that seems to fail, before one that does not"),
    ],
)
def test_of_undecided_bands_the_one_that_decides_is_named(
    original: Path, tmp_path: Path, shifts: list[float], band: int
) -> None:
    """After as many images as were advised, another band is still open."""
    noise = np.random.default_rng(0).standard_normal((N, BANDS))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0, ddof=1) * [1, 4, 1]
    other = planted(original, tmp_path / "o.h5", phi=noise - shifts)
    (found,) = asked(original, other, "margin phi=0.5")
    half = stats.t.ppf(1 - (1 - GATE_LEVEL) / BANDS / 2, N - 1) / np.sqrt(N) * [1, 4, 1][band]
    wanted = N * (half / (0.5 - shifts[band])) ** 2
    assert (found.answer, found.band) == ("undecided", band)
    assert found.needed is not None
    assert wanted <= found.needed <= 1.1 * wanted


def test_the_score_is_decided_at_its_own_level(original: Path, tmp_path: Path) -> None:
    """Bounds of 95 %, which the archive has, are missed too often for a gate."""
    other = planted(original, tmp_path / "o.h5")
    archive = open_archive(original)
    sis, low, high = (float(archive[f"sis{end}"]) for end in ("", "_low", "_high"))
    ratio = stats.t.ppf((1 + GATE_LEVEL) / 2, N - 1) / stats.t.ppf(0.975, N - 1)
    for value, answer in ((low * 0.9, "holds"), (high * 1.1, "fails"), (sis * 1.001, "undecided")):
        (found,) = asked(original, other, f"at_least sis={value}")
        assert found.answer == answer
        assert found.measured.value == pytest.approx(sis)
        assert found.measured.low == pytest.approx(sis - ratio * (sis - low), rel=1e-6)
        assert found.measured.high == pytest.approx(sis + ratio * (high - sis), rel=1e-6)
    # The two have the same contributions.
    (found,) = asked(original, other, "margin sis=0")
    assert (found.answer, found.measured.value) == ("holds", 0)


def test_agreement_is_of_answers_and_not_of_right_ones(original: Path, tmp_path: Path) -> None:
    """Two models that are wrong on the same images agree."""
    first = planted(original, tmp_path / "a.h5", wrong=range(100))
    second = planted(original, tmp_path / "b.h5", wrong=range(90))
    (found,) = asked(first, second, "at_least agreement=0.9")
    np.testing.assert_allclose((found.measured.low, found.measured.high), exact(N - 10))
    assert found.measured.value == 0.95


def test_several_archives_are_corrected_for(original: Path, tmp_path: Path) -> None:
    """One of twenty archives holds by chance."""
    others = [planted(original, tmp_path / f"{k}.h5", wrong=range(10)) for k in range(4)]
    gates = [Gate("at_least", "accuracy", 0.9), Gate("margin", "phi", 1.0)]
    found = check_gates(compare(original, *others), gates)
    assert [(one.archive.path.name, one.gate) for one in found] == [
        (other.name, gate) for other in others for gate in gates
    ]
    wanted: Any = stats.binomtest(N - 10, N).proportion_ci(1 - (1 - GATE_LEVEL) / 4)
    assert found[0].measured.low == pytest.approx(wanted.low)
    assert {one.comparisons for one in found} == {4}


def test_one_image_can_be_compared_and_decides_nothing(tmp_path: Path) -> None:
    """NaN is neither above a limit nor below, and holds or fails by the order of a comparison."""
    for name in "ab":
        decompose(CNN, PICTURES, tmp_path / f"{name}.h5", bands=BANDS, limit=1, threads=1)
    names = ("margin sis=0.5", "margin phi=100", "at_least sis=0.0001", "margin accuracy=0.01")
    found = asked(tmp_path / "a.h5", tmp_path / "b.h5", *names)
    assert [one.answer for one in found] == ["undecided"] * 4
    assert [one.needed for one in found[:3]] == [None] * 3
    assert advice(found[0]) == "there is no interval: take more images"
    assert found[0].images == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
def test_no_gate_holds_because_of_a_number_that_is_none(
    original: Path, tmp_path: Path, value: float
) -> None:
    """An edited archive whose intervals are infinite lies above any limit."""
    change = np.zeros((N, BANDS))
    change[0, 0] = value
    other = planted(original, tmp_path / "o.h5", phi=change)
    with pytest.raises(ArchiveError, match="numbers that no model gives"):
        asked(original, other, "margin sis=0.1", "margin phi=0.1")


def predicted(archive: Archive, target: Path) -> Path:
    """The archive as if its labels were its own answers."""
    shutil.copy(archive.path, target)
    with h5py.File(target, "r+") as file:
        text = file.attrs["options"].decode()
        changed = re.sub(r'"labels": ?"given"', '"labels": "predicted"', text)
        assert changed != text
        file.attrs["options"] = np.bytes_(changed.encode())
        file.attrs["digest"] = digest_of(file)
    return target


def test_there_is_no_accuracy_of_own_answers(original: Path, tmp_path: Path) -> None:
    """Each model is right by definition, and the gate holds for all of them."""
    own = predicted(open_archive(original), tmp_path / "own.h5")
    for text in ("margin accuracy=0.1", "at_least accuracy=0.1"):
        with pytest.raises(OptionError, match="labels are the models' own answers"):
            asked(own, own, text)
    assert asked(own, own, "at_least agreement=0.9")[0].answer == "holds"


def test_perturbed_images_are_in_no_archive_yet(original: Path) -> None:
    """A gate that nothing was measured for would hold."""
    with pytest.raises(OptionError, match="none of the given archives holds perturbed images"):
        asked(original, original, "at_least robustness.gaussian_noise:3=0.8")


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("margin", "acuracy=0.1", "did you mean 'accuracy'"),
        ("margin", "agreement=0.1", "the gates are accuracy, sis, phi"),
        ("at_least", "phi=0.1", "the gates are accuracy, sis, agreement"),
        ("at_least", "robustness.noise=0.1", "there is no gate"),
        ("margin", "robustness.noise:3=0.1", "there is no gate"),
        ("margin", "accuracy", "expected NAME=X"),
        ("margin", "accuracy=", "expected NAME=X"),
        ("margin", "accuracy=1 %", "expected NAME=X"),
        ("margin", "accuracy=1", "from 0 to below 1"),
        ("margin", "accuracy=-0.1", "from 0 to below 1"),
        ("margin", "sis=nan", "from 0 to below 1"),
        ("margin", "phi=-1", "nats, 0 or more"),
        ("margin", "phi=inf", "nats, 0 or more"),
        ("at_least", "accuracy=90", "from 0 to below 1"),
        ("at_least", "", "expected NAME=X"),
    ],
)
def test_what_is_no_gate_is_one_sentence(kind: GateKind, text: str, says: str) -> None:
    """A misspelt gate, or a percentage, that always holds."""
    with pytest.raises(OptionError) as raised:
        Gate.parse(kind, text)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("margins", "accuracy", 0.1), "no kind of gate 'margins', did you mean 'margin'"),
        (([], "accuracy", 0.1), r"no kind of gate \[\]; the kinds are margin, at_least"),
        (("margin", "accuracy", "0.01"), "its value is a number, found '0.01'"),
        (("at_least", "accuracy", True), "its value is a number, found True"),
        (("margin", "accuracy", None), "its value is a number, found None"),
        (("margin", 3, 0.1), "the name of a gate is text such as 'accuracy', found 3"),
        (("margin", "SIS", 0.1), "no gate 'SIS' here, did you mean 'sis'"),
        (("margin", "robust", 0.1), "no gate 'robust' here; the gates are accuracy, sis, phi"),
    ],
    ids=str,
)
def test_a_gate_of_another_type_is_one_sentence(words: Any, message: str) -> None:
    """A KeyError of a table inside, or a gate of True that is never met."""
    with pytest.raises(OptionError, match=message):
        Gate(*words)


def test_a_value_of_numpy_is_a_number() -> None:
    """Margins that are worked out would be refused."""
    value: Any = np.float32(0.25)
    assert Gate("margin", "accuracy", value) == Gate("margin", "accuracy", 0.25)


def test_one_gate_needs_no_list(original: Path, tmp_path: Path) -> None:
    """'Gate' object is not iterable."""
    comparison = compare(original, planted(original, tmp_path / "o.h5"))
    gate = Gate("margin", "accuracy", 0.05)
    assert [one.gate for one in check_gates(comparison, gate)] == [gate]
    wrong: Any = ["margin accuracy=0.05"]
    with pytest.raises(OptionError, match="a gate is such as"):
        check_gates(comparison, wrong)

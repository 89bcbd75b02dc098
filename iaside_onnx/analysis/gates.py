"""Gates: whether an archive is good enough, beside a reference or by itself.

A gate has three answers, as a small difference and a difference that nobody can see yet are not the
same: it holds, it fails, or the images are too few to tell. There is no gate on log-probability: it
has heavy tails, and its interval misses in up to 10 % of cases.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, TypeAlias

from scipy import optimize

from iaside_onnx.analysis.comparison import Comparison, Pair, compare_pair
from iaside_onnx.analysis.estimates import estimate_archives
from iaside_onnx.analysis.series import Series
from iaside_onnx.analysis.statistics import Interval, paired_difference, proportion_interval
from iaside_onnx.archive import Archive
from iaside_onnx.errors import OptionError, nearest

__all__ = ["GATE_LEVEL", "Answer", "Gate", "GateKind", "GateResult", "check_gates"]

GATE_LEVEL = 0.98
"""Confidence level of all intervals that decide on gates.

A gate that holds where the truth lies on the margin errs. Nominally that happens in 1 % of cases.
By simulation with 50 to 400 images (``tools/studies/paired_coverage.py``) the lower bounds of
nominal 95 % intervals are missed in up to 4 % of samples, and those of 97 % in up to 3.4 %, where
2.5 % is promised.
"""

GateKind: TypeAlias = Literal["margin", "at_least"]
Answer: TypeAlias = Literal["holds", "fails", "undecided"]

_NAMES: dict[GateKind, tuple[str, ...]] = {
    "margin": ("accuracy", "sis", "phi"),
    "at_least": ("accuracy", "sis", "agreement"),
}
_EXAMPLES: dict[GateKind, str] = {"margin": "accuracy=0.01", "at_least": "accuracy=0.9"}
# Perturbation and severity, such as `robustness.gaussian_noise:3`.
_ROBUSTNESS = re.compile(r"robustness\.[a-z0-9_]+:[0-9]+", re.ASCII)
# Estimates that are nearer to the margin, in half widths, lie on it: the rest is rounding.
_ON_THE_MARGIN = 1e-6
# Nobody has more images.
_MOST = 1e12


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition that an archive has to meet.

    Attributes:
        kind: ``margin``: not below the reference by more than the value. ``at_least``: not below
            the value.
        name: what is measured. With a margin ``accuracy``, ``sis``, or ``phi``: the contribution
            of each band, in nats. At least: ``accuracy``, ``sis``, ``agreement``, the share of
            answers that equal those of the reference, or ``robustness.KIND:SEVERITY``.
        value: the margin, or the least value: in [0, 1], but a margin of phi in nats.

    Raises:
        OptionError: if there is no such gate, or the value makes no sense for it.
    """

    kind: GateKind
    name: str
    value: float

    def __post_init__(self) -> None:
        self._check_types()
        if self.name not in _NAMES[self.kind] and not self.perturbed:
            raise OptionError(
                f"{self._option}: there is no gate {self.name!r} here"
                f"{nearest(self.name, _NAMES[self.kind], 'gates')}"
            )
        if self.name == "phi":
            fits, wanted = 0 <= self.value < math.inf, "nats, 0 or more"
        elif self.kind == "margin":
            # A margin of 1 would hold for any archive: most likely 1 % was meant.
            fits, wanted = 0 <= self.value < 1, "a share from 0 to below 1, such as 0.01"
        else:
            # No number of images shows that a share is 1.
            fits, wanted = 0 <= self.value < 1, "a share from 0 to below 1, such as 0.9"
        if not fits:
            raise OptionError(f"{self._option}: its value is {wanted}, found {self.value:g}")

    def _check_types(self) -> None:
        """Check what type checkers see, and notebooks do not.

        Raises:
            OptionError: if a value is of another type, or the kind is unknown.
        """
        # A tuple, as the kind may be anything, also what has no hash.
        if self.kind not in tuple(_NAMES):
            hint = nearest(str(self.kind), _NAMES, "kinds")
            raise OptionError(f"there is no kind of gate {self.kind!r}{hint}")
        if not isinstance(self.name, str):
            raise OptionError(f"the name of a gate is text such as 'accuracy', found {self.name!r}")
        value: object = self.value
        # True is a number to Python.
        if isinstance(value, bool) or not isinstance(value, Real):
            raise OptionError(f"{self._option}: its value is a number, found {value!r}")

    @classmethod
    def parse(cls, kind: GateKind, text: str) -> Gate:
        """A gate from ``NAME=X``.

        Raises:
            OptionError: if the text is something else, or there is no such gate.
        """
        name, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            raise OptionError(
                f"`{kind}={text}`: expected NAME=X with a number X, such as "
                f"`{kind}={_EXAMPLES[kind]}`"
            ) from None
        return cls(kind, name.strip(), value)

    @property
    def perturbed(self) -> bool:
        """Whether it is about perturbed images."""
        return self.kind == "at_least" and _ROBUSTNESS.fullmatch(self.name) is not None

    @property
    def limit(self) -> float:
        """What the measured value may not be below."""
        return -self.value if self.kind == "margin" else self.value

    @property
    def _option(self) -> str:
        return f"`{self.kind}={self}`"

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class GateResult:
    """The answer of a gate about an archive.

    Attributes:
        gate: the gate.
        reference: the archive that it was compared with.
        archive: the archive that it is about.
        answer: ``holds`` if the interval lies at the limit or above it, ``fails`` if it lies below,
            ``undecided`` otherwise.
        measured: of a margin the archive's value minus that of the reference, else its value.
        band: of phi, the band that decides; else None.
        images: number of images that it was measured on.
        needed: about how many images would tell, where the answer is ``undecided``; None if no
            number of images can be given, as the estimate lies on the limit or has no interval.
        comparisons: number of pairs over which the interval is corrected, of `GATE_LEVEL` together.
    """

    gate: Gate
    reference: Archive
    archive: Archive
    answer: Answer
    measured: Interval
    band: int | None
    images: int
    needed: int | None
    comparisons: int


def check_gates(comparison: Comparison | Series, gates: Gate | Sequence[Gate]) -> list[GateResult]:
    """Ask all gates about each archive that is compared; not about the reference.

    Args:
        comparison: the archives; of a series, each checkpoint is asked about, beside the first. The
            intervals of its own are not used, but those of `GATE_LEVEL`.
        gates: the gates, or one.

    Returns:
        For each pair, of all baselines, one result for each gate, in the order of the gates.

    Raises:
        OptionError: if the archives do not hold what a gate is about, or one is no gate.
    """
    comparison = comparison.comparison if isinstance(comparison, Series) else comparison
    gates = [gates] if isinstance(gates, Gate) else gates
    for gate in gates:
        _check_known(comparison, gate)
    found = []
    for pair in comparison.pairs if gates else ():
        strict = compare_pair(pair.reference, pair.archive, pair.comparisons, GATE_LEVEL)
        found += [_check(gate, strict) for gate in gates]
    return found


def _check_known(comparison: Comparison, gate: Gate) -> None:
    """Check that the archives hold what a gate is about.

    Raises:
        OptionError: if they do not.
    """
    if not isinstance(gate, Gate):
        raise OptionError(
            f"a gate is such as Gate('margin', 'accuracy', 0.01), found {str(gate)[:80]!r}"
        )
    asked = f"`{gate.kind}={gate}`"
    if gate.perturbed:
        raise OptionError(
            f"{asked}: none of the given archives holds perturbed images; leave this gate out"
        )
    if gate.name == "accuracy" and any(pair.accuracy is None for pair in comparison.pairs):
        raise OptionError(
            f"{asked}: labels are the models' own answers, so that nothing is known of accuracy; "
            "leave this gate out, or decompose with `labels=FILE`"
        )


def _check(gate: Gate, pair: Pair) -> GateResult:
    measured = _MEASURES[gate.kind, gate.name](pair)
    found, needed = (
        [one.interval for one in measured],
        [_needed(one, gate.limit) for one in measured],
    )
    place = _deciding(found, needed, gate.limit)
    answer, images = _answer(found[place], gate.limit), measured[place].images
    told = answer == "undecided" and math.isfinite(needed[place])
    return GateResult(
        gate=gate,
        reference=pair.reference,
        archive=pair.archive,
        answer=answer,
        measured=found[place],
        band=place if gate.name == "phi" else None,
        images=images,
        needed=max(int(needed[place]), images + 1) if told else None,
        comparisons=pair.comparisons,
    )


def _answer(found: Interval, limit: float) -> Answer:
    # One image has no interval.
    if not math.isfinite(found.high - found.low):
        return "undecided"
    if found.low >= limit:
        return "holds"
    return "fails" if found.high < limit else "undecided"


def _deciding(found: Sequence[Interval], needed: Sequence[float], limit: float) -> int:
    """The place of the interval on which the answer about all of them depends.

    Of those that fail, the one that does so most clearly. Otherwise of those that are undecided:
    the one that will fail first, or if none seems to, the one that will hold last. Otherwise the
    one that is nearest to failing.
    """
    places: dict[Answer, list[int]] = {"holds": [], "fails": [], "undecided": []}
    for place, one in enumerate(found):
        places[_answer(one, limit)].append(place)
    if places["fails"]:
        return min(places["fails"], key=lambda place: found[place].high)
    if not places["undecided"]:
        return min(places["holds"], key=lambda place: found[place].low)
    below = [place for place in places["undecided"] if found[place].value < limit]
    if below:
        return min(below, key=lambda place: needed[place])
    return max(places["undecided"], key=lambda place: needed[place])


def _needed(found: _Measured, limit: float) -> float:
    """About how many images bring the nearer bound to the limit, if all else stays as it is.

    Returns:
        The number, rounded up to two digits; infinite if none would, or nothing is known.
    """
    now = found.interval
    distance = now.value - limit
    half = now.value - now.low if distance >= 0 else now.high - now.value
    if not math.isfinite(half) or abs(distance) <= _ON_THE_MARGIN * half:
        return math.inf

    def short(images: float) -> float:
        then = found.at(images)
        return limit - then.low if distance >= 0 else then.high - limit

    number = float(found.images)
    while short(number) > 0:
        number *= 2
        if number > _MOST:
            return math.inf
    if number > found.images:
        number = float(optimize.brentq(short, number / 2, number, rtol=1e-3))
    step = 10.0 ** max(math.floor(math.log10(max(number, 1.0))) - 1, 0)
    return math.ceil(number / step) * step


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a gate is about.

    Attributes:
        interval: as it was measured.
        images: on how many images.
        at: the interval if all were the same on another number of images.
    """

    interval: Interval
    images: int
    at: Callable[[float], Interval]


def _mean(interval: Interval, images: int) -> _Measured:
    """A function of means, whose interval narrows with the root of the number of images."""

    def at(number: float) -> Interval:
        value, narrow = interval.value, math.sqrt(images / number)
        return Interval(
            value, value - narrow * (value - interval.low), value + narrow * (interval.high - value)
        )

    return _Measured(interval, images, at)


def _share(right: int, images: int, level: float) -> _Measured:
    """A share of images."""

    def at(number: float) -> Interval:
        return proportion_interval(right * number / images, number, level)

    return _Measured(proportion_interval(right, images, level), images, at)


def _accuracy_difference(pair: Pair) -> list[_Measured]:
    found, level = pair.accuracy, _one(pair)
    assert found is not None  # noqa: S101  # for the type checker: `_check_known` looked
    gained, lost, images = found.gained, found.lost, pair.images

    def at(number: float) -> Interval:
        more = number / images
        return paired_difference(gained * more, lost * more, number, level)

    return [_Measured(found.difference, images, at)]


def _score_difference(pair: Pair) -> list[_Measured]:
    return [_mean(pair.sis, pair.images)]


def _phi_differences(pair: Pair) -> list[_Measured]:
    return [_mean(band, pair.images) for band in pair.bands("phi")]


def _accuracy(pair: Pair) -> list[_Measured]:
    """Over all images of the archive, whether the reference has them or not."""
    right = pair.archive["predicted"] == pair.archive["label"]
    return [_share(int(right.sum()), right.size, _one(pair))]


def _score(pair: Pair) -> list[_Measured]:
    """Likewise."""
    found = estimate_archives([pair.archive], _one(pair))
    score = Interval(found.sis, found.sis_low, found.sis_high)
    return [_mean(score, int(pair.archive["image"].size))]


def _agreement(pair: Pair) -> list[_Measured]:
    same = round(pair.agreement.value * pair.images)
    return [_share(same, pair.images, _one(pair))]


def _one(pair: Pair) -> float:
    """The level of one of the intervals that hold together."""
    return 1 - (1 - pair.level) / pair.comparisons


_MEASURES: dict[tuple[GateKind, str], Callable[[Pair], list[_Measured]]] = {
    ("margin", "accuracy"): _accuracy_difference,
    ("margin", "sis"): _score_difference,
    ("margin", "phi"): _phi_differences,
    ("at_least", "accuracy"): _accuracy,
    ("at_least", "sis"): _score,
    ("at_least", "agreement"): _agreement,
}

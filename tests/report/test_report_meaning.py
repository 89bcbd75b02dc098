"""What numbers mean, and how many images make a wide interval narrow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from iaside_onnx import Archive, estimate
from iaside_onnx.report.meaning import SIS_MEANING, more_images
from tests.support.command import in_process


class Made(dict[str, Any]):
    """As much of an archive as is read."""

    def __init__(self, sis: float, phi: float, n: int = 200, population: int | None = None) -> None:
        half = np.array([phi / 2, phi])
        values = np.array([4.0, -1.0])
        super().__init__(
            image=np.arange(n), sis_low=np.float64(0.3 - sis), sis_high=np.float64(0.3 + sis),
            phi=values, phi_low=values - half, phi_high=values + half,
        )  # fmt: skip
        self.recipe = SimpleNamespace(population=population)


def said(*words: Any) -> str | None:
    return more_images(cast("Archive", Made(*words)))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # 200 (0.1 / 0.05)^2
        ((0.1, 0.1), "SIS is known to 0.1 either way: about 800 images would make that 0.05"),
        # 200 (0.123 / 0.05)^2 = 1210.3
        ((0.123, 0.1), "SIS is known to 0.12 either way: about 1,200 images would make that 0.05"),
        # SIS is narrow enough. The largest contribution is 4, of which a quarter is 1.
        ((0.049, 3.0), "phi of band 1 is known to 3 nats either way: about 1,800 images would make "
         "that 1 nats"),
        ((0.049, 0.99), None),
        # Variance s^2 (1/n - 1/400): a quarter of it where 1/n = 1/400 + (1/200 - 1/400) / 4.
        ((0.1, 0.1, 200, 400), "SIS is known to 0.1 either way: about 320 images would make that "
         "0.05"),
        ((0.1, 0.1, 200, 200), "SIS is known to 0.1 either way: more evaluations of the same "
         "images (`iaside extend`) would narrow it"),
        # Nothing is known of the error, or the archive was edited.
        ((np.nan, np.nan), None),
        ((np.inf, np.inf), None),
        ((1e300, 1.0), None),
    ],
)  # fmt: skip
def test_how_many_images_are_asked_for(words: tuple[Any, ...], expected: str | None) -> None:
    """A week of labelling for nothing, or an interval that stays as wide as it was."""
    assert said(*words) == expected


def test_more_images_do_make_it_narrow() -> None:
    """The number is of no use: four times the images, and the same width."""
    # The same 60 images again and again, as others would have other means.
    units = np.random.default_rng(0).standard_normal((60, 3)) * [20, 3, 3] + [9, 1, -2]

    def made(n: int) -> Archive:
        found = estimate(units[np.arange(n) % 60])
        archive = Made(0.0, 0.0, n)
        for name in ("phi", "phi_low", "phi_high", "sis_low", "sis_high"):
            archive[name] = getattr(found, name)
        return cast("Archive", archive)

    sentence = more_images(made(60))
    assert sentence is not None
    assert sentence.startswith("SIS")
    wanted = int(sentence.split("about ")[1].split(" images")[0].replace(",", ""))
    after = made(wanted)
    assert float(after["sis_high"] - after["sis_low"]) / 2 == pytest.approx(0.05, rel=0.15)


def test_show_says_what_the_score_is_not(bundled_archive: Archive) -> None:
    """SIS is taken for robustness, which it predicts at 0.26 in the worst of two zoos."""
    outcome = in_process("show", bundled_archive.path)
    outcome.succeeds()
    for sentence in SIS_MEANING:
        assert sentence in outcome.out
    asked = more_images(bundled_archive)
    assert (asked is None) or asked in outcome.out.replace("\n", " ")

"""An alternative design: few coalitions an image, pooled by least squares over all images.

Of each image one group D of coalitions is evaluated, drawn with probability p_D. With a working
covariance of worths over images, S, ``I = sum p_D P_D' S_D^-1 P_D`` and the Shapley matrix W, the
image's unit is ``W m + W I^-1 P_D' S_D^-1 (u_D - m_D)``, unbiased whatever S and m are; m is
estimated from the other half of the images. S is taken from the table of another model, because it
must be known before the first evaluation; p_D minimise the trace of the covariance over the bands.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from iaside_onnx import shapley_values
from iaside_onnx.game import Estimate, estimate

_ROUNDS = 300
_RIDGE = 1e-3


class Pooled:
    """The design and the estimator."""

    def __init__(self, worth: np.ndarray, bands: int) -> None:
        """Choose the probabilities of groups, each a coalition, its complement and all bands.

        Args:
            worth: the table of another model, ``(images, 2**bands)``, in nats.
            bands: M.
        """
        full = 2**bands - 1
        # Relative to the empty coalition, whose worth is known for every label.
        above = (worth - worth[:, :1]).astype(np.float64)[:, 1:]
        covariance = np.cov(above, rowvar=False)
        covariance += _RIDGE * np.trace(covariance) / full * np.eye(full)
        unit = np.eye(2**bands)[1:]
        self._shapley = shapley_values(unit).T
        # Indices into vectors whose first entry is coalition 1.
        self._groups = np.array(
            [[s - 1, full - s - 1, full - 1] for s in range(1, (full + 1) // 2)]
        )
        self._inverse = np.array([np.linalg.inv(covariance[np.ix_(g, g)]) for g in self._groups])
        self.p, information = self._probabilities(full)
        solve = np.linalg.solve(information, self._shapley.T).T
        self._weights = np.einsum("bgk,gkl->gbl", solve[:, self._groups], self._inverse)

    def _information(self, p: np.ndarray, full: int) -> np.ndarray:
        total = np.zeros((full, full))
        rows = np.broadcast_to(self._groups[:, :, None], self._inverse.shape)
        columns = np.broadcast_to(self._groups[:, None, :], self._inverse.shape)
        np.add.at(total, (rows, columns), p[:, None, None] * self._inverse)
        return total

    def _probabilities(self, full: int) -> tuple[np.ndarray, np.ndarray]:
        """A-optimal, by multiplicative updates (Silvey, Titterington, Torsney, 1978)."""
        p = np.full(len(self._groups), 1 / len(self._groups))
        for _ in range(_ROUNDS):
            solve = np.linalg.solve(self._information(p, full), self._shapley.T)
            there = solve[self._groups]
            gain = np.einsum("gkb,gkl,glb->g", there, self._inverse, there)
            p *= np.sqrt(gain)
            p /= p.sum()
        # Every group keeps a positive probability, so that every coalition can be drawn.
        p = np.maximum(p, 1e-3 / len(p))
        p /= p.sum()
        return p, self._information(p, full)

    def run(
        self, worth: np.ndarray, draw: Callable[[int], np.ndarray], budget: int, seed: int
    ) -> tuple[Estimate, int]:
        """Return an estimate from a table and the number of evaluations."""
        rng = np.random.default_rng([seed, 9])
        images = budget // self._groups.shape[1]
        own = draw(images)
        # Systematic sampling: the count of a group is its expectation, rounded up or down.
        places = (np.arange(images) + rng.random()) / images
        which = np.searchsorted(np.cumsum(self.p), places).clip(max=len(self.p) - 1)
        which = rng.permutation(which)
        seen = self._groups[which]
        values = np.take_along_axis(worth[own], seen + 1, axis=1) - worth[own, :1]
        half = np.arange(images) % 2
        units = np.empty((images, self._shapley.shape[0]))
        for side in (0, 1):
            mean = self._mean(values[half != side], seen[half != side], which[half != side])
            here = half == side
            rest = values[here] - mean[seen[here]]
            units[here] = self._shapley @ mean + np.einsum(
                "nbl,nl->nb", self._weights[which[here]], rest
            )
        return estimate(units), images * self._groups.shape[1]

    def _mean(self, values: np.ndarray, seen: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Mean worths by least squares."""
        full = self._shapley.shape[1]
        count = np.bincount(which, minlength=len(self.p))
        information = self._information(count.astype(np.float64), full)
        right = np.zeros(full)
        np.add.at(right, seen, np.einsum("nkl,nl->nk", self._inverse[which], values))
        ridge = 1e-9 * np.trace(information) / full
        return np.linalg.solve(information + ridge * np.eye(full), right)

"""From contributions to the distribution over bands, and to one number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.types import Phi

__all__ = ["is_uniform", "score_weights", "spectral_distribution", "spectral_importance_score"]


def is_uniform(phi: Phi) -> bool:
    """Whether all contributions are equal up to rounding, so that no band is the smallest."""
    spread = float(np.max(phi) - np.min(phi))
    return spread <= 1e-12 * float(np.max(np.abs(phi), initial=0.0))


def spectral_distribution(phi: Phi) -> NDArray[np.float64]:
    """The distribution psi, ``(bands,)``: ``(phi - min phi) / sum(phi - min phi)``.

    Non-negative and of sum 1; 1 / bands each where all contributions are equal.

    Args:
        phi: mean contributions, ``(bands,)``, in nats.
    """
    if is_uniform(phi):
        return np.full(phi.shape, 1.0 / phi.size)
    above = phi - phi.min()
    return np.asarray(above / above.sum())


def score_weights(bands: int) -> tuple[NDArray[np.float64], float]:
    """The unit vector ``beta / ||beta||_2``, beta_i = 0.75^i, and eta, its mean.

    eta is what the uniform distribution scores before rescaling: ``||beta||_1 / (M ||beta||_2)``.
    """
    beta = 0.75 ** np.arange(bands)
    unit = beta / np.linalg.norm(beta)
    return unit, float(unit.mean())


def spectral_importance_score(psi: NDArray[np.float64]) -> float:
    """The spectral importance score SIS, in [0, 1), of a distribution psi, ``(bands,)``.

    ``|<beta / ||beta||_2, psi> - eta| / (1 - eta)``; the uniform distribution scores 0
    (arXiv:2408.01139, section 4).
    """
    unit, eta = score_weights(psi.size)
    # Rounding leaves the uniform distribution a few ulps away from 0.
    distance = abs(float(unit @ psi) - eta)
    return 0.0 if distance < 4 * np.finfo(np.float64).eps else distance / (1.0 - eta)

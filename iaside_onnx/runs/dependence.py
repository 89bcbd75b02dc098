"""Whether a model's answer about an image depends on that image alone, found before the work.

Three things are looked at: what the graph's operators say, whether the same call gives the same
outputs again, and whether an image gets the same answer alone and among very different ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import BatchRule, Recipe
from iaside_onnx.errors import EvaluationError, ModelError
from iaside_onnx.runtime import Classifier, Predictor, floor_of
from iaside_onnx.types import Pixels

__all__ = ["Settled", "apply_rule", "rounding", "settle_batch"]

_TARGETS = 3
"""Images that are evaluated alone and in other company."""

# What rounding may come to in nats, and as a share of the value, by the type of the numbers.
_ROUNDING = {
    "float64": (1e-5, 1e-6),
    "float32": (1e-3, 1e-4),
    "float16": (5e-2, 1e-2),
    "bfloat16": (3e-1, 5e-2),
}
# Integers that are rounded from activations may differ by a step wherever these differ at all.
_STEPS = (3e-1, 5e-2)
_CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class Settled:
    """How the model has to be run.

    Attributes:
        outputs: raw outputs of the images that were tried, run in that way, ``(n, classes)``.
        rule: why every call has the same number of images, if that is so; see `Recipe`.
        nondeterministic: why an answer is no function of the image, which the user allows; None
            if it is one.
        note: what was found, in words; empty if there is nothing to say.
    """

    outputs: NDArray[np.generic]
    rule: BatchRule | None = None
    nondeterministic: str | None = None
    note: str = ""


def rounding(classifier: Classifier, *, same_place: bool = True) -> tuple[float, float]:
    """How far rounding alone can move a log-probability, by the operators of the graph.

    Integers that are rounded from activations amplify what floating-point numbers differ by: one
    that lies between two steps may go either way. On the CPU ONNX Runtime gives the same integers
    bit for bit, whatever the batch and the number of threads, so that nothing is allowed for. This
    was measured on EfficientNet-Lite0, a vision transformer and small networks, all static INT8.

    Args:
        classifier: the model.
        same_place: whether both values were computed by the same version of the runtime and the
            same provider.

    Returns:
        Nats, and a share of the value.
    """
    operators, execution = classifier.operators, classifier.execution
    exact = same_place and execution.provider == _CPU
    if not exact and (operators.quantised or operators.whole_batch):
        return _STEPS
    if execution.provider_options.get("use_tf32") == "1":
        return _ROUNDING["bfloat16" if operators.float_type == "bfloat16" else "float16"]
    return _ROUNDING[operators.float_type]


def apply_rule(recipe: Recipe, classifier: Classifier) -> None:
    """Run a model as the recipe says, in a process that has not tried it."""
    if recipe.batch_rule is not None:
        classifier.fix_batch(recipe.batch_size)


def settle_batch(
    predictor: Predictor,
    pixels: NDArray[np.float32],
    *,
    allow_nondeterministic: bool = False,
    earlier: Recipe | None = None,
) -> Settled:
    """Find out how a model must be run for an answer to be a function of the image alone.

    The predictor is left with the batch size that was found.

    Args:
        predictor: the model, with the batch size of the run.
        pixels: a few images, ``(n, channels, height, width)`` in [0, 1].
        allow_nondeterministic: go on where no batch size makes it one.
        earlier: recipe of a run of the same model and output, whose rule is kept.

    Raises:
        ModelError: if no batch size makes it one, with the operator; or the model works with no
            batch size that was tried.
        EvaluationError: if the runtime fails.
    """
    classifier = predictor.classifier
    operators, fixed = classifier.operators, classifier.signature.batch
    allowed = ""
    if operators.unfixed:
        allowed = _refuse(classifier, _listed(operators.unfixed), allow_nondeterministic)
    if operators.whole_batch and fixed != 1:
        cause = _listed(operators.whole_batch)
        if fixed is None:
            return _fix(predictor, pixels, 1, "alone", allowed, _alone(cause))
        allowed = allowed or _refuse_company(classifier, cause, allow_nondeterministic)
    if earlier is not None and earlier.nondeterministic and not allowed:
        allowed = _refuse(classifier, earlier.nondeterministic, allow_nondeterministic)
    if earlier is not None and earlier.batch_rule is not None and fixed is None:
        note = f"batch size: {earlier.batch_size}, as before"
        return _fix(predictor, pixels, earlier.batch_size, earlier.batch_rule, allowed, note)
    found = _run(predictor, pixels)
    if allowed or earlier is not None:
        return replace(found, nondeterministic=allowed or None)
    return _try(predictor, pixels, found, allow_nondeterministic)


def _try(predictor: Predictor, pixels: NDArray[np.float32], found: Settled, allow: bool) -> Settled:
    """Run some images again, alone, and in other company."""
    classifier = predictor.classifier
    fixed, outputs = classifier.signature.batch, found.outputs
    targets = pixels[:_TARGETS]
    cause = _listed(classifier.operators.along_batch) or "no operator of it is known to do so"
    if fixed is None:
        alone, again = (_one_by_one(predictor, targets) for _ in range(2))
    else:
        alone = outputs[: len(targets)]
        again = predictor.outputs(pixels)[: len(targets)]
    if _differ(classifier, alone, again):
        why = f"other answers for the same images each time ({cause})"
        return replace(found, nondeterministic=_refuse(classifier, why, allow, tried=True))
    if predictor.batch_size == 1:
        return found
    together = (_in_company(predictor, targets), outputs[: len(targets)])
    if not any(_differ(classifier, alone, other) for other in together):
        return found
    apart = max(_distance(alone, other) for other in together)
    cause = f"by up to {apart:.2g} nats among the images tried; {cause}"
    if fixed is not None:
        return replace(found, nondeterministic=_refuse_company(classifier, cause, allow))
    return _fix(predictor, pixels, 1, "alone", "", _alone(cause))


def _run(predictor: Predictor, pixels: NDArray[np.float32]) -> Settled:
    """Outputs with the batch size of the run, or with another that the model works with."""
    signature, asked = predictor.classifier.signature, predictor.batch_size
    try:
        outputs = predictor.outputs(pixels)
    except (EvaluationError, ModelError) as error:
        if signature.batch is not None or predictor.batch_size == 1:
            raise
        failure = error
    else:
        rows = signature.output_batch
        if rows is None or signature.batch is not None:
            return Settled(outputs)
        return Settled(outputs, note=(
            f"the graph declares {rows} rows of the output {signature.output_name!r} and gives one "
            "for each image: ONNX Runtime allocates its outputs"
        ))  # fmt: skip
    for size in dict.fromkeys([signature.output_batch or 1, 1]):
        note = (
            f"batch size: {size}, as the graph declares any and does not work with {asked} images"
        )
        with suppress(EvaluationError, ModelError):
            return _fix(predictor, pixels, size, "fixed", "", note)
    raise failure


def _fix(
    predictor: Predictor,
    pixels: NDArray[np.float32],
    size: int,
    rule: BatchRule,
    allowed: str,
    note: str,
) -> Settled:
    """Give every call one number of images."""
    predictor.classifier.fix_batch(size)
    predictor.resize(size)
    return Settled(predictor.outputs(pixels), rule, allowed or None, note)


def _one_by_one(predictor: Predictor, pixels: NDArray[np.float32]) -> NDArray[np.generic]:
    """Outputs of images in batches of one."""
    size = predictor.batch_size
    # Where all calls have the same size, one image would be padded.
    padded = predictor.classifier.fixed_batch and size > 1
    if padded:
        predictor.resize(1)
    outputs = np.concatenate([predictor.outputs(image[None]) for image in pixels])
    if padded:
        predictor.resize(size)
    return outputs


def _in_company(predictor: Predictor, targets: NDArray[np.float32]) -> NDArray[np.generic]:
    """Outputs of images between very different ones, each in another place of its batch."""
    mixed = [image for target, other in zip(targets, _strangers(targets), strict=True)
             for image in (other, target)]  # fmt: skip
    last = np.ones_like(mixed[0])
    return predictor.outputs(np.stack([*mixed, last]))[1:-1:2]


def _strangers(targets: NDArray[np.float32]) -> list[Pixels]:
    """Black, one without its mean, and one of more contrast than images have, in turn."""
    first = targets[0]
    kinds = [np.zeros_like(first), first - first.mean(), np.float32(3) * first - np.float32(1)]
    return [kinds[i % len(kinds)] for i in range(len(targets))]


def _comparable(outputs: NDArray[np.generic]) -> NDArray[np.float64]:
    """Outputs of which a difference is one in nats, whatever they are."""
    values = np.asarray(outputs, dtype=np.float64)
    usable = values[np.isfinite(values)]
    if ((usable >= 0) & (usable <= 1)).all():
        return np.log(np.maximum(values, floor_of(outputs.dtype)))
    return values


def _distance(first: NDArray[np.generic], second: NDArray[np.generic]) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(np.abs(_comparable(first) - _comparable(second))).max())


def _differ(
    classifier: Classifier, first: NDArray[np.generic], second: NDArray[np.generic]
) -> bool:
    """Whether outputs differ by more than rounding."""
    absolute, relative = rounding(classifier)
    ours, theirs = _comparable(first), _comparable(second)
    return not np.allclose(ours, theirs, rtol=relative, atol=absolute, equal_nan=True)


def _listed(names: Sequence[str]) -> str:
    """The first of some operators, and how many there are."""
    if len(names) < 2:
        return "".join(names)
    return f"{names[0]}, and {len(names) - 1} more"


def _alone(cause: str) -> str:
    return (
        "batch size: 1, as this model's answer about an image depends on the images beside it "
        f"({cause})"
    )


def _refuse(classifier: Classifier, cause: str, allow: bool, *, tried: bool = False) -> str:
    """The reason why answers are no function of the image, for the archive.

    Raises:
        ModelError: if that is not allowed.
    """
    if allow:
        return cause
    what = f"gives {cause}" if tried else f"its answers are no function of the image: {cause}"
    raise ModelError(
        f"{classifier.facts.path}: {what}; export the model in evaluation mode and without random "
        "operators, or add `allow_nondeterministic=True`, which the archive records"
    )


def _refuse_company(classifier: Classifier, cause: str, allow: bool) -> str:
    """Likewise, for a model with a fixed batch whose answers depend on the images beside them."""
    size = classifier.signature.batch
    if allow:
        return f"answers depend on the other images of a batch of {size} ({cause})"
    raise ModelError(
        f"{classifier.facts.path}: its answer about an image depends on the images beside it "
        f"({cause}), and its batch is fixed at {size}; export it with a dynamic batch or a batch "
        "of 1, or add `allow_nondeterministic=True`, which the archive records"
    )

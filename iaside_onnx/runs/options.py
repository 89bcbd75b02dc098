"""All options of a decomposition, with their defaults."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import INFERENCE_OF_ABOUT
from iaside_onnx.errors import OptionError
from iaside_onnx.game import MAX_SAMPLED_BANDS, design_names, design_type
from iaside_onnx.images import ClassesLike, Preprocess
from iaside_onnx.model import AutoOutputKind, PreprocessLike, check_choices
from iaside_onnx.types import (
    BASELINES,
    INFERENCES,
    PARTITIONS,
    PIXEL_RANGES,
    SPACINGS,
    Baseline,
    Inference,
    Layout,
    Partition,
    PixelRange,
    Spacing,
)

__all__ = [
    "DEFAULT_BUDGET",
    "LIMITS",
    "OLD_WORDS",
    "Labels",
    "OnBadImage",
    "OptionWords",
    "Options",
    "parse_options",
]

DEFAULT_BUDGET = 1 << 18
"""Evaluations: up to this number every coalition of every image is evaluated, above it a sample."""

LIMITS = ("budget", "target_se", "target_sis_width")
"""How far a sequential run goes: all in which it may differ from a run that extends it."""

OLD_WORDS = ("about",)
"""Options of earlier versions that `parse_options` still takes."""

OnBadImage: TypeAlias = Literal["error", "skip"]
Labels: TypeAlias = str | Path | Sequence[int] | NDArray[np.integer[Any]]

_WHOLE_NUMBERS = (
    ("bands", 2, MAX_SAMPLED_BANDS),
    ("limit", 1, 2**63 - 1),
    ("budget", 1, 2**63 - 1),
    ("batch_size", 1, 2**20),
    # With thousands of threads ONNX Runtime takes minutes to start, and longer for each image.
    ("threads", 1, 512),
    ("workers", 1, 512),
    # The largest number that the archive can hold.
    ("seed", 0, 2**63 - 1),
)
_OPTIONAL = ("limit", "budget", "threads")
_WORDS = [("batch_size", "auto")]
_TARGETS = LIMITS[1:]


@dataclass(frozen=True)
class Options:
    """What to decompose and how.

    Attributes:
        labels: whose log-probability is the worth: ``folder``, the class folders or the labels in
            the array file; ``predicted``, the model's own answer on the whole image; a CSV or
            JSON file of image id and label; or whole numbers, ``(n,)``. By default the source's
            own.
        classes: class names to class indices or back, as a file or a mapping; or ``in-order``, if
            the class folders in string order are the classes from 0 on, though there are fewer or
            more of them than the model has; or ``numbers``, if their names are class indices. By
            default folders are numbered in string order, and as many as the model's classes.
        images_key: the array of a .npz or HDF5 file, or column of a Parquet file, that holds the
            images, where it is not found by its name.
        labels_key: likewise of the labels.
        preprocess: a spec, a mapping or a file that holds one, or ``keras:caffe|tf|torch|raw``; by
            default the one beside the model, then the one inside it, then plain scaling to [0, 1].
        input_size: channels, height and width, for models that leave them open.
        input_layout: ``NCHW`` (channels first) or ``NHWC`` (channels last), where the model leaves
            it open, as one that takes colour images flat.
        bands: number of bands, 2 to 64; above 16 a sample is the only way.
        partition: the norm that cuts the spectrum into rings.
        spacing: bands of equal width, or octaves.
        baseline: what stands in for absent bands: nothing, the data set's mean colour, Gaussian
            noise with the image's own band energies, or another image.
        pixel_range: what is done to filtered images that leave [0, 1].
        method: design of the coalitions. ``exact`` evaluates every coalition of every image,
            ``sampled`` a few of each, see `iaside_onnx.game.PairedDesign`; ``auto`` is exact where
            that is within the budget, and else sampled.
        budget: evaluations in all; by default 262,144, and none if a target is given. A sample
            ends with the last whole block of images that is within it.
        target_se: sample until no band's phi has a standard error above this, in nats.
        target_sis_width: sample until the interval of SIS reaches no more than so far to each side.
        inference: what the intervals are about: the ``population`` that the images were drawn
            from, or the images of the source alone, of which those evaluated are a ``sample``.
        output_name: name of the model's output, if there are several.
        output_kind: what that output is; ``auto`` looks at the graph and at a few images.
            ``probabilities`` may also be those of each label by itself (sigmoid): the worth is the
            logarithm of the label's. One number for each image is that of class 1 of two.
        limit: take this many images, balanced over the classes where they are known.
        batch_size: images a call; ``auto`` tries a few sizes and takes the fastest, and a resumed
            run the same one.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:i``.
        provider: an ONNX Runtime execution provider by name, instead of a device; images go
            through the host's memory.
        provider_options: the provider's own options, by name, as text.
        tf32: let CUDA round float32 to 10 bits in matrix products and convolutions.
        cuda_graph: let CUDA record the model once and replay it; not every model allows it.
        allow_cpu_nodes: let the CPU run operators that the device or provider does not have.
        allow_nondeterministic: decompose a model whose answers are no function of the image, as
            with random operators, training mode, or a fixed batch whose images depend on one
            another; the archive says so.
        threads: threads of each worker on the CPU; by default the cores that the process may use,
            divided among the workers.
        workers: processes that evaluate; 1 evaluates in this process.
        seed: of every random choice.
        on_bad_image: what an image that cannot be evaluated does: ``error`` evaluates all others,
            keeps them, and fails; ``skip`` records it and goes on.
        overwrite: replace an archive, or throw away an unfinished run, made with other options.
        profile: a JSON file to write the time spent in each phase to; the archive holds it too.
    """

    labels: Labels | None = None
    classes: ClassesLike | None = None
    images_key: str | None = None
    labels_key: str | None = None
    preprocess: PreprocessLike | None = None
    input_size: tuple[int, int, int] | None = None
    input_layout: Layout | None = None
    bands: int = 8
    partition: Partition = "linf"
    spacing: Spacing = "linear"
    baseline: Baseline = "zero"
    pixel_range: PixelRange = "none"
    method: str = "auto"
    budget: int | None = None
    target_se: float | None = None
    target_sis_width: float | None = None
    inference: Inference = "population"
    output_name: str | None = None
    output_kind: AutoOutputKind = "auto"
    limit: int | None = None
    batch_size: int | Literal["auto"] = 32
    device: str = "auto"
    provider: str | None = None
    provider_options: Mapping[str, str] | None = None
    tf32: bool = False
    cuda_graph: bool = False
    allow_cpu_nodes: bool = False
    allow_nondeterministic: bool = False
    threads: int | None = None
    workers: int = 1
    seed: int = 0
    on_bad_image: OnBadImage = "error"
    overwrite: bool = False
    profile: Path | str | None = None

    def __post_init__(self) -> None:
        for name, words in (
            ("partition", PARTITIONS),
            ("spacing", SPACINGS),
            ("baseline", BASELINES),
            ("pixel_range", PIXEL_RANGES),
            ("method", ("auto", *design_names())),
            ("inference", INFERENCES),
            ("on_bad_image", get_args(OnBadImage)),
        ):
            value = getattr(self, name)
            if value not in words:
                raise OptionError(
                    f"unknown {name.replace('_', ' ')} {value!r}: choose from {', '.join(words)}"
                )
        check_choices(input_layout=self.input_layout, output_kind=self.output_kind)
        for name in ("device", "provider", "output_name", "images_key", "labels_key"):
            value = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name == "device"):
                raise OptionError(f"{name.replace('_', ' ')} must be a name, not {value!r}")
        for name, least, most in _WHOLE_NUMBERS:
            value = getattr(self, name)
            if (value is None and name in _OPTIONAL) or (
                isinstance(value, str) and (name, value) in _WORDS
            ):
                continue
            if (
                isinstance(value, bool)
                or not isinstance(value, int | np.integer)
                or not least <= value <= most
            ):
                raise OptionError(
                    f"{name.replace('_', ' ')} must be a whole number from {least} to {most}, "
                    f"not {value!r}"
                )
            # NumPy's integers are no JSON.
            object.__setattr__(self, name, int(value))
        self._check_targets()
        if self.method != "auto" and not design_type(self.method).sequential and self.is_limited:
            raise OptionError(
                f"the method {self.method} evaluates every image in full, without a budget or a "
                "target: leave these out, or choose another method"
            )
        # Workers get the options by pickling.
        for name in ("classes", "provider_options"):
            if isinstance(getattr(self, name), Mapping):
                object.__setattr__(self, name, dict(getattr(self, name)))
        for key, value in (self.provider_options or {}).items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise OptionError(f"provider options are text, not {key!r}: {value!r}")
        if isinstance(self.labels, list | tuple):
            object.__setattr__(self, "labels", np.asarray(self.labels))
        if isinstance(self.preprocess, Mapping):
            spec = Preprocess.from_dict(self.preprocess, "preprocess")
            object.__setattr__(self, "preprocess", spec)

    def _check_targets(self) -> None:
        for name in _TARGETS:
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise OptionError(f"{name.replace('_', ' ')} must be a number, not {value!r}")
            if not 0 < float(value) < math.inf:
                raise OptionError(f"{name.replace('_', ' ')} must be above 0, not {value!r}")
            object.__setattr__(self, name, float(value))

    @property
    def has_target(self) -> bool:
        """Whether a precision is asked for."""
        return any(getattr(self, name) is not None for name in _TARGETS)

    @property
    def own_labels(self) -> NDArray[np.integer[Any]] | None:
        """Labels that were given as an array."""
        return self.labels if isinstance(self.labels, np.ndarray) else None

    @property
    def is_limited(self) -> bool:
        """Whether a budget or a precision is asked for."""
        return self.budget is not None or self.has_target

    def as_given(self) -> dict[str, object]:
        """The options as JSON values; arrays are replaced by a word."""
        given: dict[str, object] = {}
        for name, value in vars(self).items():
            if isinstance(value, Preprocess):
                given[name] = value.to_dict()
            elif isinstance(value, np.ndarray):
                given[name] = "array"
            elif isinstance(value, Path):
                given[name] = str(value)
            elif isinstance(value, np.integer):
                given[name] = int(value)
            else:
                given[name] = dict(value) if isinstance(value, Mapping) else value
        return given


def parse_options(words: Mapping[str, Any]) -> Options:
    """Options from keyword arguments, also those of earlier versions.

    Raises:
        OptionError: if a value cannot work.
        TypeError: if there is no such option.
    """
    words = dict(words)
    if "about" in words:
        if "inference" in words:
            raise OptionError("`about` is the old word for `inference`: give one of them")
        warnings.warn(
            "the option `about` is now `inference`, and its word `images` is now `sample`",
            DeprecationWarning,
            # Of `decompose`, which is decorated, the caller.
            stacklevel=4,
        )
        about = words.pop("about")
        words["inference"] = INFERENCE_OF_ABOUT.get(about, about)
    return Options(**words)


class OptionWords(TypedDict, total=False):
    """The attributes of `Options` as keyword arguments."""

    labels: Labels | None
    classes: ClassesLike | None
    images_key: str | None
    labels_key: str | None
    preprocess: PreprocessLike | None
    input_size: tuple[int, int, int] | None
    input_layout: Layout | None
    bands: int
    partition: Partition
    spacing: Spacing
    baseline: Baseline
    pixel_range: PixelRange
    method: str
    budget: int | None
    target_se: float | None
    target_sis_width: float | None
    inference: Inference
    output_name: str | None
    output_kind: AutoOutputKind
    limit: int | None
    batch_size: int | Literal["auto"]
    device: str
    provider: str | None
    provider_options: Mapping[str, str] | None
    tf32: bool
    cuda_graph: bool
    allow_cpu_nodes: bool
    allow_nondeterministic: bool
    threads: int | None
    workers: int
    seed: int
    on_bad_image: OnBadImage
    overwrite: bool
    profile: Path | str | None

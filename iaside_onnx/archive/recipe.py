"""A recipe: everything that determines the result of a run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from iaside_onnx.errors import ArchiveError
from iaside_onnx.types import (
    CONSTANT_BASELINES,
    Baseline,
    Inference,
    Layout,
    OutputKind,
    Partition,
    PixelRange,
    Spacing,
)

__all__ = [
    "INFERENCE_OF_ABOUT",
    "Access",
    "BatchRule",
    "Recipe",
    "describe_differences",
    "end_evaluations",
    "words_for",
]

_SHOWN = 40

BatchRule: TypeAlias = Literal["alone", "fixed"]
"""Why every call of a model has the same number of images, where its graph does not say so."""

# The words of `inference` in archives of earlier versions, where it is named `about`.
INFERENCE_OF_ABOUT = {"population": "population", "images": "sample"}
"""The words of `inference` by those of `about`, as earlier versions called it."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where a process finds the model and the images of a recipe; not part of the result.

    Attributes:
        model: path of the ONNX file.
        images: a path, or arrays, as `iaside_onnx.images.open_images` takes them.
        classes: class index of each name, likewise.
        labels: labels of an array of images, ``(n,)``, likewise.
        session: keyword arguments of `iaside_onnx.runtime.load_classifier`.
        images_key: name of the array or column of images, as ``images``.
        labels_key: that of labels, likewise.
    """

    model: Path
    images: Any
    classes: Any = None
    labels: Any = None
    session: Mapping[str, Any] = field(default_factory=dict)
    images_key: str | None = None
    labels_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that determines the result of a decomposition, as JSON values.

    Equal recipes give equal results on equal machines. Batch size and threads, as they were asked
    for, are part of a recipe: they change results by rounding, and a resumed run must equal an
    uninterrupted one bit for bit.

    Attributes:
        tool_version: version of iaside.
        model_sha256: hash of the model file.
        model_external: hash of each external data file, by its location relative to the model.
        output: name of the model's output.
        output_kind: what that output is.
        images: kind of the source of images.
        images_count: number of images.
        images_digest: hash of the names and labels of the images.
        labels: whether labels were ``given``, or are what the model ``predicted``.
        preprocess: how pixels become input, with all sizes filled in.
        method: name of the design of coalitions.
        bands: number of bands.
        partition: norm that makes the radius of a frequency.
        spacing: how the radius is cut into bands.
        baseline: what stands in for absent bands.
        mean_color: mean of each channel, for the baseline ``mean``.
        pixel_range: what is done to filtered images that leave [0, 1].
        limit: number of images that was asked for; None for all.
        seed: seed of every random choice.
        batch_size: images per call of the model.
        threads: threads of one call on the CPU.
        provider: execution provider.
        device: ``cpu``, ``cuda:i``, or the name of the provider.
        provider_options: options of the provider itself, by name.
        runtime: distribution of ONNX Runtime.
        runtime_version: its version.
        budget: total number of evaluations of a sequential run; None without a limit.
        target_se: standard error of phi to reach, in nats; None without a target.
        target_sis_width: half width of the interval of SIS to reach; None without a target.
        inference: what the intervals are about: the ``population`` that the images were drawn
            from, or the images of the source, of which those evaluated are a ``sample``.
        population: number of images in the source, where the intervals are about these.
        input_layout: where the model has the channels, where that was asked for.
        batch_rule: why every call has ``batch_size`` images, though the graph takes any number:
            ``alone``, the answer about an image depends on the images beside it, so that each is
            evaluated alone; ``fixed``, the graph works with no other number. None otherwise.
        nondeterministic: why an answer is no function of the image, if the user allows that.
        merged: number of archives that it was merged from; None for a run.
        extends: digest of the archive that an unfinished extension continues.
        access: where model and images are on this machine; not compared, and not in the JSON.
    """

    tool_version: str
    model_sha256: str
    model_external: dict[str, str]
    output: str
    output_kind: OutputKind
    images: str
    images_count: int
    images_digest: str
    labels: Literal["given", "predicted"]
    preprocess: dict[str, Any]
    method: str
    bands: int
    partition: Partition
    spacing: Spacing
    baseline: Baseline
    mean_color: tuple[float, ...] | None
    pixel_range: PixelRange
    limit: int | None
    seed: int
    batch_size: int
    threads: int | Literal["all usable cores"]
    provider: str
    device: str
    provider_options: dict[str, str] = field(default_factory=dict)
    runtime: str
    runtime_version: str
    budget: int | None = None
    target_se: float | None = None
    target_sis_width: float | None = None
    inference: Inference = "population"
    population: int | None = None
    input_layout: Layout | None = None
    batch_rule: BatchRule | None = None
    nondeterministic: str | None = None
    merged: int | None = None
    extends: str | None = None
    access: Access | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON values; fields that have their default are left out."""
        defaults = {one.name: one.default for one in fields(self) if one.default is not MISSING}
        return {
            name: value
            for name, value in self._values().items()
            if name not in defaults or value != defaults[name]
        }

    def _values(self) -> dict[str, Any]:
        """Every field as a JSON value."""
        names = [one.name for one in fields(self) if one.name != "access"]
        # Through text, as tuples become lists: what was read back is compared with this.
        return dict(json.loads(json.dumps({name: getattr(self, name) for name in names})))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_json`; also reads what earlier versions wrote.

        Raises:
            ValueError: if a field is missing or has another type; the message names it.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"a recipe is an object, not {type(data).__name__}")
        known = {key: value for key, value in data.items() if key not in ("about", "access")}
        if "about" in data:
            about = data["about"]
            known["inference"] = (
                INFERENCE_OF_ABOUT.get(about, about) if isinstance(about, str) else about
            )
        try:
            return msgspec.convert(known, cls)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error

    @classmethod
    def from_options(cls, options: Mapping[str, Any], path: Path) -> Recipe:
        """The recipe in the attribute ``options`` of an archive.

        Raises:
            ArchiveError: if it is not there or cannot be read.
        """
        try:
            if not isinstance(options["given"], dict):
                raise TypeError("'given' is not an object")
            return cls.from_json(options["resolved"])
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ArchiveError(
                f"{path}: the attribute 'options' does not say how the run was made ({error}); "
                "the archive is damaged or was edited"
            ) from error

    def differences(self, other: Recipe, ignoring: Collection[str] = ()) -> str:
        """The fields in which another recipe differs, with both values; empty if there are none."""
        return describe_differences(self._values(), other._values(), ignoring)

    def differing(self, other: Recipe, names: Collection[str]) -> list[str]:
        """The names among ``names`` of the fields in which another recipe differs."""
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    def without(self, names: Collection[str]) -> Recipe:
        """A copy with optional fields reset to None."""
        reset: dict[str, Any] = dict.fromkeys(names)
        return replace(self, **reset)


def end_evaluations(pixel_range: PixelRange, baseline: Baseline) -> int:
    """Evaluations of an image in place of those of its empty and its full coalition.

    The whole image; the full coalition, where each image is stretched and differs from it; the
    empty coalition, where the baseline is not the same for all images.
    """
    return 1 + (pixel_range == "minmax") + (baseline not in CONSTANT_BASELINES)


# What fields are called in messages, where that is not the name of an option.
_WORDS = {
    "tool_version": "the version of iaside",
    "model_sha256": "the model",
    "model_external": "the external data",
    "output": "output_name",
    "images": "the kind of images",
    "images_count": "the number of images",
    "images_digest": "the names or labels of the images",
    "labels": "where labels come from",
    "mean_color": "the mean colour of the images",
    "runtime": "the build of ONNX Runtime",
    "runtime_version": "the version of ONNX Runtime",
    "population": "the number of images in the source",
    "batch_rule": "the rule for the batch size",
    "nondeterministic": "why answers are no function of the image",
    "merged": "the number of archives that were merged",
    "extends": "the archive that is extended",
}
# Hashes, which say nothing to a reader.
_HASHES = ("model_sha256", "model_external", "images_digest", "extends")


def words_for(names: Iterable[str]) -> str:
    """Fields of a recipe as a list in the words of a user."""
    return ", ".join(_WORDS.get(name, name) for name in names)


def describe_differences(
    ours: Mapping[str, object], theirs: Mapping[str, object], ignoring: Collection[str] = ()
) -> str:
    """Name in what two runs differ, with both values where they say something."""
    ours, theirs = _flat(ours, theirs), _flat(theirs, ours)
    names = sorted(n for n in {*ours, *theirs} if n.split(".")[0] not in ignoring)
    return ", ".join(
        _described(name, theirs.get(name), ours.get(name))
        for name in names
        if ours.get(name) != theirs.get(name)
    )


def _described(name: str, there: object, now: object) -> str:
    field, dot, key = name.partition(".")
    word = f"{_WORDS[field]} {key}".strip() if field in _WORDS else f"{field}{dot}{key}"
    if field in _HASHES:
        return word
    return f"{word} ({_shown(there)} there, {_shown(now)} now)"


def _flat(values: Mapping[str, object], others: Mapping[str, object]) -> dict[str, object]:
    """Values that are mappings on both sides as one value for each of their keys."""
    found: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(others.get(name), Mapping):
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."

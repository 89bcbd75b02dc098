"""A model file with the preprocessing that it gets: found, loaded, and ready for pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iaside_onnx.images import Preprocess
from iaside_onnx.model.preprocessing import (
    PreprocessLike,
    choose_preprocess,
    complete_preprocess,
    scaling_warning,
)
from iaside_onnx.runtime import (
    Classifier,
    GraphFacts,
    InputTransform,
    Predictor,
    load_classifier,
    read_graph,
)
from iaside_onnx.types import Layout

__all__ = ["FoundModel", "input_transform", "make_predictor"]


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that was read and hashed, but not loaded.

    Attributes:
        facts: what the file says of itself.
        preprocess: the specification with the highest precedence; None if there is none.
        note: where the specification comes from, in words.
    """

    facts: GraphFacts
    preprocess: Preprocess | None
    note: str

    @classmethod
    def read(cls, path: str | Path, preprocess: PreprocessLike | None = None) -> FoundModel:
        """Read a model, and find out how images are prepared for it.

        Args:
            path: the ONNX file.
            preprocess: a specification, a file that holds one, or ``keras:MODE``; by default the
                one beside the model, then the one inside it.

        Raises:
            ModelError: if the file is no model that can be loaded.
            PreprocessError: if the specification cannot be read.
        """
        facts = read_graph(Path(path))
        return cls(facts, *choose_preprocess(facts, preprocess))

    def size(self, asked: tuple[int, int, int] | None = None) -> tuple[int, int, int] | None:
        """Channels, height and width: what is asked for, or those of the specification, if any."""
        return asked or (self.preprocess.input_size if self.preprocess else None)

    def load(
        self,
        output_name: str | None = None,
        input_size: tuple[int, int, int] | None = None,
        **session: Any,
    ) -> Classifier:
        """Load the model, for images of the size that is known, if any.

        Args:
            output_name: the output that holds the classes, if there are several.
            input_size: channels, height and width; by default those of the specification.
            **session: ``input_layout``, ``output_kind``, and what
                `iaside_onnx.runtime.load_classifier` takes besides.

        Raises:
            IasideError: as `iaside_onnx.runtime.load_classifier`.
        """
        size = self.size(input_size)
        return load_classifier(self.facts, output=output_name, input_size=size, **session)

    def complete(
        self,
        classifier: Classifier,
        input_size: tuple[int, int, int] | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> Preprocess:
        """The specification with all sizes filled in; see `complete_preprocess`.

        Raises:
            PreprocessError: if sizes contradict each other, or none is known.
        """
        return complete_preprocess(self.preprocess, classifier.signature, input_size, image_size)

    def warning(self, spec: Preprocess) -> str | None:
        """What seems to be wrong with a specification that is filled in; None if nothing."""
        return scaling_warning(self.facts, spec)


def input_transform(spec: Preprocess, layout: Layout, dtype: np.dtype[Any]) -> InputTransform:
    """How pixels become input of this layout and type, by a specification."""
    scale, shift = spec.affine()
    return InputTransform(scale, shift, layout, dtype)


def make_predictor(classifier: Classifier, spec: Preprocess, batch_size: int) -> Predictor:
    """A predictor for images that are prepared by a complete specification.

    Raises:
        OutOfMemoryError: if not even one image fits into memory.
    """
    scale, shift = spec.affine()
    return Predictor(
        classifier, image_shape=spec.size(), scale=scale, shift=shift, batch_size=batch_size
    )

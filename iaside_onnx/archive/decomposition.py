"""The archive of a decomposition: its variables, and reading them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive.metadata import DecompositionMetadata
from iaside_onnx.archive.reading import ArchiveFile, open_as, register_kind
from iaside_onnx.archive.recipe import Recipe
from iaside_onnx.archive.schema import TEXT, Schema, Variable
from iaside_onnx.archive.views import view
from iaside_onnx.errors import OptionError
from iaside_onnx.progress import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "DECOMPOSITION",
    "WORTH_ROUNDING",
    "Archive",
    "as_archive",
    "class_folders",
    "open_archive",
]

WORTH_ROUNDING = 1e-3
"""Log-probabilities up to this, in nats, are 0 up to rounding."""

_LOW, _HIGH = "lower bound of the 95 % interval of", "upper bound of the 95 % interval of"
_PHI, _PSI = "mean contribution of the band", "share of the band in the distribution psi"
_SIS = "spectral importance score"

_VARIABLES: dict[str, Variable] = {
    "image": Variable(
        ("image",), "int64", "1", "position of the image in its source", sharded=True
    ),
    "band": Variable(("band",), "int64", "1", "band, 0 is the lowest and holds the mean"),
    "coalition": Variable(
        ("coalition",), "uint64", "1", "bit mask of the bands that are present, bit i is band i"
    ),
    "worth": Variable(
        ("image", "coalition"), "float32", "nat",
        "log-probability of the label; NaN: not evaluated", streamed=True, sharded=True,
    ),
    "label": Variable(
        ("image",), "int64", "1", "class index that the worth is about", sharded=True,
        coordinate=True,
    ),
    "predicted": Variable(
        ("image",), "int64", "1", "class that the model gives the whole image", sharded=True,
        coordinate=True,
    ),
    "image_id": Variable(
        ("image",), TEXT, "", "name of the image in its source", sharded=True, coordinate=True
    ),
    "image_sha256": Variable(
        ("image",), TEXT, "", "SHA-256 of the file, or of the array", sharded=True, coordinate=True
    ),
    "log_probability_whole": Variable(
        ("image",), "float32", "nat", "log-probability of the label, image as it is", sharded=True
    ),
    "log_probability_empty": Variable(
        ("image",), "float32", "nat", "log-probability of the label, baseline alone", sharded=True
    ),
    "floored": Variable(
        ("image",), "int64", "1", "worths raised to the smallest probability of the output's type",
        sharded=True,
    ),
    "phi_image": Variable(("image", "band"), "float64", "nat", "contribution of the band"),
    "phi": Variable(("band",), "float64", "nat", _PHI, estimated=True),
    "phi_low": Variable(("band",), "float64", "nat", f"{_LOW} phi", estimated=True),
    "phi_high": Variable(("band",), "float64", "nat", f"{_HIGH} phi", estimated=True),
    "psi": Variable(("band",), "float64", "1", _PSI, estimated=True),
    "psi_low": Variable(("band",), "float64", "1", f"{_LOW} psi", estimated=True),
    "psi_high": Variable(("band",), "float64", "1", f"{_HIGH} psi", estimated=True),
    "sis": Variable((), "float64", "1", _SIS, estimated=True),
    "sis_low": Variable((), "float64", "1", f"{_LOW} the score", estimated=True),
    "sis_high": Variable((), "float64", "1", f"{_HIGH} the score", estimated=True),
    "band_low": Variable(
        ("band",), "float64", "1", "lowest radius of the band, included", coordinate=True
    ),
    "band_high": Variable(
        ("band",), "float64", "1", "highest radius of the band, excluded", coordinate=True
    ),
    "class_folder": Variable(("class_folder",), TEXT, "", "folder of a class", False),
    "class_folder_index": Variable(("class_folder",), "int64", "1", "its class index", False),
    "failed_id": Variable(
        ("failed",), TEXT, "", "name of an image that failed", False, coordinate=True
    ),
    "failed_reason": Variable(("failed",), TEXT, "", "why it failed", False),
    "failed": Variable(("failed",), "int64", "1", "position of a failed image", False),
}  # fmt: skip

# Where each image has its own coalitions, these are added to the above or replace them.
_OWN_COALITIONS: dict[str, Variable] = {
    "slot": Variable(("slot",), "int64", "1", "number of the slot"),
    "coalition": Variable(
        ("image", "slot"), "uint64", "1",
        "bit mask of the bands that are present, bit i is band i; slot 0 none, slot 1 all, then "
        "prefixes of the image's permutation and of its reverse, and of cyclic shifts of it",
        streamed=True,
    ),
    "worth": Variable(
        ("image", "slot"), "float32", "nat", "log-probability of the label; NaN: not evaluated",
        streamed=True, sharded=True,
    ),
    "draw": Variable(("image",), "int64", "1", "place of the image in the order of the draw"),
    "block": Variable(("image",), "int64", "1", "block of images whose permutations balance"),
    "pairs": Variable(("image",), "int64", "1", "permutations of the image, each with its reverse"),
    "stratum": Variable(("image",), "int64", "1", "class that the draw was balanced over", False),
    "phi_image": Variable(
        ("image", "band"), "float64", "nat", "unbiased estimate of the contribution of the band"
    ),
    "phi_se": Variable(("band",), "float64", "nat", "standard error of phi", estimated=True),
}  # fmt: skip

DECOMPOSITION = Schema("decomposition", _VARIABLES, {"slot": _OWN_COALITIONS})
"""Contributions of the bands to the log-probability of the label, for each image."""


class Archive(ArchiveFile):
    """One decomposition, read from its HDF5 file.

    ``worth``, and ``coalition`` where each image has its own coalitions, are read on demand; all
    other variables when the archive is opened.

    Attributes:
        path: the file.
        metadata: the root attributes.
        recipe: everything that determined the result.
    """

    metadata: DecompositionMetadata
    recipe: Recipe

    def _parse(self) -> None:
        self.recipe = Recipe.from_options(self.metadata.options, self.path)

    def __repr__(self) -> str:
        meta = self.metadata
        accuracy = f", accuracy {meta.accuracy:.3f}" if math.isfinite(meta.accuracy) else ""
        return escaped(
            f"<Archive {self.path}: {meta.model_name}, {self['image'].size:,} images, "
            f"{self.bands} bands, SIS {float(self['sis']):.3f}{accuracy}>"
        )

    def _repr_html_(self) -> str:
        return str(view("html")(self))

    def plot(self, kind: Literal["phi", "psi"] = "phi", ax: Axes | None = None) -> Axes:
        """Bars of phi or psi over the bands, with their 95 % intervals; bands that hurt go down.

        Several archives in one chart: `iaside_onnx.plot_bands`.

        Args:
            kind: ``phi``, the contributions in nats, or ``psi``, the distribution.
            ax: the axes to draw into; by default those of a new figure.

        Returns:
            The axes.

        Raises:
            OptionError: if the kind is unknown.
            ExtraMissingError: if Matplotlib is not installed.
        """
        drawn: Axes = view("plot")(self, kind=kind, ax=ax)
        return drawn

    @property
    def bands(self) -> int:
        """Number of bands."""
        return int(self["band"].size)

    @property
    def own_coalitions(self) -> bool:
        """Whether each image has its own coalitions, in slots, instead of one list for all."""
        return "slot" in self.names

    @property
    def slots(self) -> int:
        """Number of worths in the row of an image."""
        return int(self["slot" if self.own_coalitions else "coalition"].size)

    @property
    def draws(self) -> NDArray[np.int64]:
        """Positions of the images in the order of the draw, ``(images,)``."""
        return self["draw"] if self.own_coalitions else np.arange(self["image"].size)

    @property
    def replicates(self) -> NDArray[np.int64]:
        """How many replicates of the design each image has, ``(images,)``."""
        if self.own_coalitions:
            return self["pairs"]
        return np.ones(self["image"].size, dtype=np.int64)

    def worth(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Worths of a range of images, ``(images, coalitions)`` or ``(images, slots)``, in nats.

        Raises:
            ArchiveError: if the file is gone or damaged.
        """
        return self.rows("worth", start, stop)

    def coalitions(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint64]:
        """The coalition of each worth of a range of images, in the shape of `worth`.

        Raises:
            ArchiveError: if the file is gone or damaged.
        """
        if self.own_coalitions:
            return self.rows("coalition", start, stop)
        coalitions = self["coalition"]
        return np.broadcast_to(coalitions, (*self["image"][start:stop].shape, coalitions.size))


register_kind(DECOMPOSITION, DecompositionMetadata, Archive)


def open_archive(path: str | Path) -> Archive:
    """Open the archive of a decomposition.

    Raises:
        ArchiveError: if the file is not an archive of that kind, is damaged, lacks something that
            the schema requires, or has a newer schema than this version knows.
    """
    return open_as(Archive, Path(path), "decompose")


def as_archive(archive: Archive | str | Path) -> Archive:
    """An archive that is open already, or is at a path.

    Raises:
        ArchiveError: as `open_archive`.
        OptionError: if it is something else.
    """
    if isinstance(archive, str | Path):
        return open_archive(archive)
    if not isinstance(archive, Archive):
        raise OptionError(
            f"an archive, or the path of one, was expected, found {type(archive).__name__}; give "
            "archives one by one"
        )
    return archive


def class_folders(archive: Archive) -> dict[int, set[str]]:
    """Names of the folders of each class; none where the source had no folders."""
    found: dict[int, set[str]] = {}
    if "class_folder" in archive.names:
        for name, index in zip(archive["class_folder"], archive["class_folder_index"], strict=True):
            found.setdefault(int(index), set()).add(str(name))
    return found

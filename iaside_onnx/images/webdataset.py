"""Tar shards in WebDataset format: files of one sample share a name up to the first dot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.classes import KnownClasses, class_index, no_word
from iaside_onnx.images.decode import IMAGE_SUFFIXES
from iaside_onnx.images.encoded import EncodedSource, check_length
from iaside_onnx.images.keys import Keys
from iaside_onnx.images.left_out import LeftOut
from iaside_onnx.images.tar import Member, samples

__all__ = ["TarSource", "open_tars"]


class TarSource(EncodedSource):
    """The images of one or more tar files, in the order of the files."""

    def __init__(
        self,
        members: Sequence[Member],
        labels: NDArray[np.int64] | None,
        classes: dict[str, int] | None,
        where: str,
        notes: Sequence[str] = (),
    ) -> None:
        several = len({member.shard for member in members}) > 1
        ids = [f"{m.shard.name}/{m.name}" if several else m.name for m in members]
        super().__init__(
            "webdataset", f"WebDataset {Path(where).name}", ids, labels, classes, notes
        )
        self._members = members

    def encoded(self, index: int) -> bytes:
        """Read the bytes of one member.

        Raises:
            ImageError: the shard cannot be read at this member.
        """
        member = self._members[index]
        check_length(member.size, self.name(index))
        try:
            with member.shard.open("rb") as file:
                file.seek(member.offset)
                data = file.read(member.size)
        except OSError as failure:
            raise ImageError(
                f"{self.name(index)} cannot be read ({failure.strerror}); check the path"
            ) from None
        if len(data) != member.size:
            raise ImageError(f"{self.name(index)} is cut short; copy the shard again")
        return data

    def name(self, index: int) -> str:
        """The shard and the member."""
        member = self._members[index]
        return f"{member.shard}: {member.name}"


def open_tars(
    paths: Sequence[Path], where: str, classes: KnownClasses, keys: Keys | None = None
) -> TarSource:
    """Read the headers of tar files, and the labels: ``.cls``, or ``label`` in ``.json``.

    Nothing is extracted. Links, devices, hidden files and files of other types are left out, which
    the notes of the source say.

    Args:
        paths: the shards, in order.
        where: name of all shards together, for errors.
        classes: class index of each name, for labels that are names.
        keys: must be empty, as members are told by their suffixes.

    Raises:
        ImageError: a shard is not a tar file, is compressed or damaged, holds a sample twice, or
            has labels for some images only.
    """
    (keys or Keys()).refuse(where)
    names = no_word(classes, where)
    left_out = LeftOut()
    members: list[Member] = []
    labels: list[int | None] = []
    for path in paths:
        for member, text in samples(path, left_out, f"{path.name}: " if len(paths) > 1 else ""):
            members.append(member)
            labels.append(None if text is None else _label(text, names, member))
    if not members:
        raise ImageError(
            f"{where}: there are no images; {', '.join(IMAGE_SUFFIXES)} files were expected, "
            f"{left_out.found()}"
        )
    known = [label for label in labels if label is not None]
    if known and len(known) < len(members):
        lacking = members[labels.index(None)]
        raise ImageError(
            f"{where}: {len(members) - len(known)} of {len(members)} images have no label "
            f"({lacking.name}, ...); give every image a label, in .cls or .json, or none of them"
        )
    notes = left_out.notes(f"WebDataset {Path(where).name}")
    found = np.array(known, dtype=np.int64) if known else None
    return TarSource(members, found, names, where, notes)


def _label(text: str, classes: dict[str, int] | None, member: Member) -> int:
    return class_index(text, classes, f"{member.shard}: {member.name}")

"""Tar shards in WebDataset form: files of one sample share a name up to the first dot."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ImageError
from iaside_onnx.images.encoded import IMAGE_SUFFIXES, MAX_FILE_BYTES, encoded_sample
from iaside_onnx.images.labels import class_index
from iaside_onnx.images.preprocess import Preprocess
from iaside_onnx.images.sample import Sample, SourceKind, sha256_of

__all__ = ["TarSource", "open_tars"]

_MAX_LABEL_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class _Member:
    """Where the bytes of one image are."""

    shard: Path
    name: str
    offset: int
    size: int


class TarSource:
    """The images of one or more tar files, one after the other."""

    def __init__(
        self,
        members: Sequence[_Member],
        labels: NDArray[np.int64] | None,
        classes: dict[str, int] | None,
        where: str,
    ) -> None:
        self.kind: SourceKind = "webdataset"
        self.where = where
        self.labels = labels
        self.classes = classes
        self.size: tuple[int, int] | None = None
        self.shards = len({member.shard for member in members})
        self.ids: Sequence[str] = [
            member.name if self.shards == 1 else f"{member.shard.name}/{member.name}"
            for member in members
        ]
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    def sha256(self, index: int) -> str:
        """Hash of the bytes of one image.

        Raises:
            ImageError: The shard cannot be read there.
        """
        return sha256_of(self._bytes(index))

    def read(self, index: int, spec: Preprocess) -> Sample:
        """Decode and prepare one image.

        Raises:
            ImageError: The image cannot be read, decoded or resized.
        """
        return encoded_sample(self._bytes(index), spec, self._name(index))

    def _bytes(self, index: int) -> bytes:
        member = self._members[index]
        if member.size > MAX_FILE_BYTES:
            raise ImageError(
                f"{self._name(index)} is larger than the limit of {MAX_FILE_BYTES} bytes; use a "
                "smaller image"
            )
        try:
            with member.shard.open("rb") as file:
                file.seek(member.offset)
                data = file.read(member.size)
        except OSError as failure:
            raise ImageError(
                f"{self._name(index)} cannot be read ({failure.strerror}); check the path"
            ) from None
        if len(data) != member.size:
            raise ImageError(f"{self._name(index)} is cut short; copy the shard again")
        return data

    def _name(self, index: int) -> str:
        member = self._members[index]
        return f"{member.shard}: {member.name}"

    def describe(self) -> str:
        """The name of the source, and how much it holds."""
        counts = [f"{len(self)} image{'' if len(self) == 1 else 's'}"]
        if self.shards > 1:
            counts.append(f"{self.shards} shards")
        if self.labels is not None:
            held = len(np.unique(self.labels))
            counts.append(f"{held} class{'' if held == 1 else 'es'}")
        return f"WebDataset {Path(self.where).name} ({', '.join(counts)})"


def open_tars(paths: Sequence[Path], where: str, classes: dict[str, int] | None) -> TarSource:
    """Read the headers of tar files, and the labels: ``.cls``, or ``label`` in ``.json``.

    Nothing is unpacked. Links, devices and hidden files are left out, as are files of other kinds.

    Args:
        paths: the shards, in order.
        where: what to call them all together.
        classes: class index of each name, for labels that are names.

    Raises:
        ImageError: A shard is no tar file, is compressed or damaged, holds a sample twice, or has
            labels for some images only.
    """
    members: list[_Member] = []
    labels: list[int | None] = []
    for path in paths:
        for member, text in _samples(path):
            members.append(member)
            labels.append(None if text is None else _label(text, classes, member))
    if not members:
        raise ImageError(
            f"{where}: there are no images; {', '.join(IMAGE_SUFFIXES)} files were expected"
        )
    known = [label for label in labels if label is not None]
    if known and len(known) < len(members):
        lacking = members[labels.index(None)]
        raise ImageError(
            f"{where}: {len(members) - len(known)} of {len(members)} images have no label "
            f"({lacking.name}, ...); give each one, in .cls or .json, or none"
        )
    return TarSource(members, np.array(known, dtype=np.int64) if known else None, classes, where)


def _samples(path: Path) -> list[tuple[_Member, str | None]]:
    """The images of one shard in order, each with the text of its label."""
    images: dict[str, _Member] = {}
    texts: dict[str, dict[str, str]] = {}
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                name = PurePosixPath(info.name)
                key, _, suffix = name.name.partition(".")
                if not key or not info.isreg() or info.sparse is not None:
                    continue
                key, suffix = str(name.with_name(key)), f".{suffix.lower()}"
                if suffix in IMAGE_SUFFIXES:
                    if key in images:
                        raise ImageError(
                            f"{path} holds the sample {key} twice ({images[key].name}, "
                            f"{info.name}); keep one"
                        )
                    images[key] = _Member(path, info.name, info.offset_data, info.size)
                elif suffix in (".cls", ".json") and info.size <= _MAX_LABEL_BYTES:
                    texts.setdefault(key, {})[suffix] = _text(file, info)
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist; check the path") from None
    except (tarfile.TarError, OSError, ValueError, EOFError) as failure:
        reason = " ".join(str(failure).split())
        raise ImageError(
            f"{path} is no plain tar file, or a damaged one ({reason}); if it is compressed, "
            "unpack it once, as images are read from their places in it"
        ) from None
    return [(member, _label_text(texts.get(key, {}))) for key, member in images.items()]


def _text(file: IO[bytes], info: tarfile.TarInfo) -> str:
    # The tar reader looks for the next header from its own place.
    file.seek(info.offset_data)
    return file.read(info.size).decode("utf-8", errors="replace")


def _label_text(texts: dict[str, str]) -> str | None:
    if ".cls" in texts:
        return texts[".cls"].strip()
    try:
        data = json.loads(texts.get(".json", "null"))
    except (ValueError, RecursionError):
        return None
    label = data.get("label") if isinstance(data, dict) else None
    return str(label) if isinstance(label, int | str) and not isinstance(label, bool) else None


def _label(text: str, classes: dict[str, int] | None, member: _Member) -> int:
    return class_index(text, classes, f"{member.shard}: {member.name}")

"""Tar shards in WebDataset format: files of one sample share a name up to the first dot."""

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
from iaside_onnx.images.encoded import IMAGE_SUFFIXES, EncodedSource, check_length
from iaside_onnx.images.labels import class_index

__all__ = ["TarSource", "open_tars"]

_MAX_LABEL_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class _Member:
    """Position of one image in a shard: name, offset and size in bytes."""

    shard: Path
    name: str
    offset: int
    size: int


class TarSource(EncodedSource):
    """The images of one or more tar files, in the order of the files."""

    def __init__(
        self,
        members: Sequence[_Member],
        labels: NDArray[np.int64] | None,
        classes: dict[str, int] | None,
        where: str,
    ) -> None:
        several = len({member.shard for member in members}) > 1
        ids = [f"{m.shard.name}/{m.name}" if several else m.name for m in members]
        super().__init__("webdataset", f"WebDataset {Path(where).name}", ids, labels, classes)
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


def open_tars(paths: Sequence[Path], where: str, classes: dict[str, int] | None) -> TarSource:
    """Read the headers of tar files, and the labels: ``.cls``, or ``label`` in ``.json``.

    Nothing is extracted. Links, devices, hidden files and files of other types are ignored.

    Args:
        paths: the shards, in order.
        where: name of all shards together, for errors.
        classes: class index of each name, for labels that are names.

    Raises:
        ImageError: a shard is not a tar file, is compressed or damaged, holds a sample twice, or
            has labels for some images only.
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
            f"({lacking.name}, ...); give every image a label, in .cls or .json, or none of them"
        )
    return TarSource(members, np.array(known, dtype=np.int64) if known else None, classes, where)


def _samples(path: Path) -> list[tuple[_Member, str | None]]:
    """The images of one shard in order, each with the text of its label, if any."""
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
            file.seek(tar.offset)
            # tarfile accepts a file that ends within or between headers as complete.
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it has no end mark: it is cut short")
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist; check the path") from None
    except (tarfile.TarError, OSError, ValueError, EOFError) as failure:
        reason = " ".join(str(failure).split())
        raise ImageError(
            f"{path} is not an uncompressed tar file, or is damaged ({reason}); copy it again, "
            "or decompress it first"
        ) from None
    return [(member, _label_text(texts.get(key, {}), member)) for key, member in images.items()]


def _text(file: IO[bytes], info: tarfile.TarInfo) -> str:
    # tarfile keeps its own position in the file, so this seek does not disturb it.
    file.seek(info.offset_data)
    return file.read(info.size).decode("utf-8", errors="replace")


def _label_text(texts: dict[str, str], member: _Member) -> str | None:
    if ".cls" in texts:
        return texts[".cls"].strip()
    try:
        data = json.loads(texts.get(".json", "null"))
    except (ValueError, RecursionError) as failure:
        raise ImageError(
            f"{member.shard}: the .json of {member.name} is not valid JSON ({failure}); fix it"
        ) from None
    label = data.get("label", data.get("cls")) if isinstance(data, dict) else None
    return str(label) if isinstance(label, int | str) and not isinstance(label, bool) else None


def _label(text: str, classes: dict[str, int] | None, member: _Member) -> int:
    return class_index(text, classes, f"{member.shard}: {member.name}")

"""The images of one tar file and the texts of their labels, found from the headers alone."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from iaside_onnx.errors import ImageError
from iaside_onnx.images.decode import IMAGE_SUFFIXES
from iaside_onnx.images.left_out import HIDDEN, LeftOut, suffix_of

__all__ = ["Member", "samples"]

_MAX_LABEL_BYTES = 2**20
_LABELS = (".cls", ".json")
# Names by which one of several images of a sample is known to be the one to classify.
_IMAGE_FIELDS = ("image", "img", "input")
_ZEROS_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """Position of one image in a shard: name, offset and size in bytes."""

    shard: Path
    name: str
    offset: int
    size: int


@dataclass(slots=True)
class _Sample:
    """The files that share a name up to the first dot of its last part.

    Attributes:
        images: by what follows that dot, such as ``png`` or ``image.png``.
        labels: text of each label file, likewise.
    """

    images: dict[str, Member] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


def samples(path: Path, left_out: LeftOut, prefix: str) -> list[tuple[Member, str | None]]:
    """The images of one shard in order, each with the text of its label, if any.

    The files of a sample share a name up to the first dot of its last part. Where images alone
    differ behind that dot, as in ``22.05.png`` and ``22.07.png``, each is a sample.

    Args:
        path: the shard.
        left_out: is told of all members that are not taken.
        prefix: of names in ``left_out``.

    Raises:
        ImageError: it is not a tar file, is compressed or damaged, or holds a sample twice.
    """
    found: dict[str, _Sample] = {}
    try:
        with path.open("rb") as file:
            for info in _members(file, left_out, f"{prefix}{path.name}"):
                _add(found, info, file, path, left_out, prefix)
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
    chosen = [
        pair for key, sample in found.items() for pair in _choose(key, sample, left_out, prefix)
    ]
    return sorted(chosen, key=lambda pair: pair[0].offset)


def _members(file: IO[bytes], left_out: LeftOut, where: str) -> Iterator[tarfile.TarInfo]:
    """The headers of a tar file, and of others that were appended to it (``cat a.tar b.tar``).

    Raises:
        tarfile.ReadError: the first is not a tar file, or one of them is cut short.
    """
    start = 0
    while True:
        file.seek(start)
        # There is nothing to close: the file is not its own.
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
        yield from tar
        if start > 0 and tar.offset == start:
            left_out.add("block behind the end mark that is no header", where)
            return
        file.seek(tar.offset)
        # tarfile accepts a file that ends within or between headers as complete.
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it has no end mark: it is cut short")
        following = _skip_zeros(file)
        if following is None:
            return
        start = following


def _skip_zeros(file: IO[bytes]) -> int | None:
    """Position of the next block that is not zero; None at the end of the file."""
    position = file.tell()
    while part := file.read(_ZEROS_BYTES):
        zeros = len(part) - len(part.lstrip(b"\0"))
        if zeros < len(part):
            return position + zeros // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
        position += len(part)
    return None


def _add(
    found: dict[str, _Sample],
    info: tarfile.TarInfo,
    file: IO[bytes],
    path: Path,
    left_out: LeftOut,
    prefix: str,
) -> None:
    """Enter a member in its sample, or count it as left out.

    Raises:
        ImageError: the sample has such a file already, or the name is not UTF-8.
    """
    if info.isdir():
        return
    name = PurePosixPath(info.name)
    shown = f"{prefix}{info.name}"
    first, _, rest = name.name.partition(".")
    suffix = suffix_of(name.name)
    if not first:
        left_out.add(HIDDEN, shown)
    elif not info.isreg() or info.sparse is not None:
        left_out.add("links, devices or sparse files", shown)
    elif suffix in IMAGE_SUFFIXES:
        _check_name(info.name, path)
        sample = found.setdefault(str(name.with_name(first)), _Sample())
        member = Member(path, info.name, info.offset_data, info.size)
        if rest.lower() in sample.images:
            _refuse_twice(path, str(name.parent / first), sample.images[rest.lower()], member)
        sample.images[rest.lower()] = member
    elif suffix in _LABELS and info.size <= _MAX_LABEL_BYTES:
        sample = found.setdefault(str(name.with_name(first)), _Sample())
        sample.labels[rest.lower()] = _text(file, info)
    else:
        left_out.add(suffix, shown)


def _check_name(name: str, path: Path) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ImageError(f"{path}: the name {name!r} is not UTF-8; rename the member") from None


def _refuse_twice(path: Path, key: str, first: Member, second: Member) -> None:
    raise ImageError(f"{path} holds the sample {key} twice ({first.name}, {second.name}); keep one")


def _text(file: IO[bytes], info: tarfile.TarInfo) -> str:
    # tarfile keeps its own position in the file, so this seek does not disturb it.
    file.seek(info.offset_data)
    return file.read(info.size).decode("utf-8", errors="replace")


def _choose(
    key: str, sample: _Sample, left_out: LeftOut, prefix: str
) -> list[tuple[Member, str | None]]:
    """The images of a sample that are to be classified, each with the text of its label.

    Raises:
        ImageError: it is unclear which image the label is of.
    """
    plain = {rest: image for rest, image in sample.images.items() if "." not in rest}
    if len(plain) > 1:
        first, second, *_ = plain.values()
        _refuse_twice(first.shard, key, first, second)
    # An image with a label file of its own, such as 22.05.png with 22.05.cls, is a sample.
    own = {
        rest: image
        for rest, image in sample.images.items()
        if rest not in plain and any(_stem(rest) + label in sample.labels for label in _LABELS)
    }
    others = {r: image for r, image in sample.images.items() if r not in own}
    named = {r: image for r, image in others.items() if _stem(r) in _IMAGE_FIELDS}
    best = plain or (named if len(named) == 1 else others)
    if not sample.images:
        left_out.add("labels without an image", f"{prefix}{key}")
    if len(best) > 1 and {"cls", "json"} & sample.labels.keys():
        first, second, *_ = best.values()
        raise ImageError(
            f"{first.shard} holds several images of the sample {key}, which has one label "
            f"({first.name}, {second.name}); name the one to classify {key}.image"
            f"{suffix_of(first.name)}"
        )
    for rest, image in others.items():
        if rest not in best:
            left_out.add("further image of a sample", f"{prefix}{image.name}")
    return [
        *((image, _label_text(_stem(rest) + ".", sample, image)) for rest, image in own.items()),
        *((image, _label_text("", sample, image)) for image in best.values()),
    ]


def _stem(rest: str) -> str:
    """``05`` of ``05.png``; empty for ``png``."""
    return rest.rpartition(".")[0]


def _label_text(stem: str, sample: _Sample, member: Member) -> str | None:
    """The label in ``STEMcls`` or, if there is none, in ``STEMjson``."""
    if f"{stem}cls" in sample.labels:
        return sample.labels[f"{stem}cls"].strip()
    try:
        data = json.loads(sample.labels.get(f"{stem}json", "null"))
    except (ValueError, RecursionError) as failure:
        raise ImageError(
            f"{member.shard}: the .json of {member.name} is not valid JSON ({failure}); fix it"
        ) from None
    label = data.get("label", data.get("cls")) if isinstance(data, dict) else None
    return str(label) if isinstance(label, int | str) and not isinstance(label, bool) else None

"""A report: archives as one self-contained HTML page, without script, that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iaside_onnx.archive import Archive, as_archive
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.files import finished_file
from iaside_onnx.outputs import check_output_file
from iaside_onnx.progress import Progress, listener
from iaside_onnx.report.subjects import make_subjects

if TYPE_CHECKING:
    from iaside_onnx.images import ClassesLike, ImagesLike

__all__ = ["check_page", "write_report"]

_SIGN = '<meta name="generator" content="iaside-onnx">'


def check_page(path: Path) -> None:
    """Check, before the work starts, that a page can be written there.

    Raises:
        ArchiveError: if it cannot, or what is there is no such page.
        OptionError: if the name cannot be used.
    """
    if path.suffix.lower() not in {".html", ".htm"}:
        raise OptionError(f"{path}: a page is an HTML file; end its name in .html")
    check_output_file(path, [_SIGN.encode()], overwrite=True, error=ArchiveError)


def write_report(
    archives: Archive | str | Path | Sequence[Archive | str | Path],
    output: str | Path,
    *,
    images: ImagesLike | None = None,
    classes: ClassesLike | None = None,
    progress: Progress | bool | None = True,
) -> None:
    """Write what archives say as one HTML page, for people.

    Args:
        archives: one archive or several with the same bands, or their paths.
        output: the HTML file to write; a page that an earlier call wrote is replaced.
        images: where the images are, as `decompose` takes them, to show what the bands look like on
            one of them; None shows no pixel of any image.
        classes: names of the classes, as `by_class` takes them; by default those of the class
            folders of the archive.
        progress: is told of archives that were changed since they were written, and of names that
            do not fit their classes; as in `decompose`.

    Raises:
        ImageError: if ``images`` cannot be read, or holds no image of the first archive; if the
            names of the classes cannot be read.
        ArchiveError: if an archive cannot be read, or the page cannot be written, or what is there
            is no such page.
        OptionError: if archives have different bands, one is given twice, or the name cannot
            be used.
    """
    # Imported here, as `iaside show` needs this room and not the page.
    from iaside_onnx.analysis import doubtful_names
    from iaside_onnx.report.rendering import render

    output = Path(output)
    check_page(output)
    given = [archives] if isinstance(archives, Archive | str | Path) else list(archives)
    opened = [as_archive(one) for one in given]
    subjects = make_subjects(opened, classes)
    for warning in filter(None, (subject.warning for subject in subjects)):
        # What was edited is shown, as it may be all that is left, but not as if it were whole.
        listener(progress).warn(warning)
    for doubt in doubtful_names(opened, classes):
        listener(progress).warn(doubt)
    # An edited archive may hold any number, and gets its page and its warning.
    with np.errstate(all="ignore"):
        page = render(subjects, _SIGN, images)
    with finished_file(output) as temporary:
        temporary.write_text(page, encoding="utf-8")

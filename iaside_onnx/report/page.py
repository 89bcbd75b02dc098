"""A report: archives as one self-contained HTML page, without script, that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iaside_onnx.archive import Archive, open_archive
from iaside_onnx.errors import OptionError
from iaside_onnx.files import finished_file
from iaside_onnx.outputs import check_output_file
from iaside_onnx.progress import LogProgress, Progress
from iaside_onnx.report.subjects import make_subjects

__all__ = ["check_page", "write_report"]

_SIGN = '<meta name="generator" content="iaside-onnx">'


def check_page(path: Path) -> None:
    """Check, before the work starts, that a page can be written there.

    Raises:
        OptionError: if it cannot, or what is there is no such page.
    """
    check_output_file(path, [_SIGN.encode()], overwrite=True)


def write_report(
    archives: Archive | str | Path | Sequence[Archive | str | Path],
    output: str | Path,
    *,
    progress: Progress | None = None,
) -> None:
    """Write what archives say as one HTML page, for people.

    The page is one file. It holds the answer in words, charts with their numbers, the worst images
    by name, where all of it comes from, and what it does not say.

    Args:
        archives: one archive or several with the same bands, or their paths.
        output: the HTML file to write; a page that an earlier call wrote is replaced.
        progress: is told of archives that were changed since they were written; by default the
            logger ``iaside_onnx``.

    Raises:
        ArchiveError: if an archive cannot be read, or the page cannot be written.
        OptionError: if archives have different bands, or what is at the output is no such page.
    """
    # Imported here, as `iaside show` needs this room and not the page.
    from iaside_onnx.report.rendering import render

    output = Path(output)
    check_page(output)
    given = [archives] if isinstance(archives, Archive | str | Path) else list(archives)
    opened = [one if isinstance(one, Archive) else open_archive(one) for one in given]
    for archive in opened:
        if output.exists() and archive.path.exists() and output.samefile(archive.path):
            raise OptionError(f"{output}: is an archive of the page; write elsewhere")
    subjects = make_subjects(opened)
    progress = progress or LogProgress()
    for subject in subjects:
        # What was edited is shown, as it may be all that is left, but not as if it were whole.
        if subject.warning:
            progress.warn(subject.warning)
    page = render(subjects, _SIGN)
    with finished_file(output) as temporary:
        temporary.write_text(page, encoding="utf-8")

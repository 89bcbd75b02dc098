"""JUnit and Markdown for a pull request: read by other programs, with names from strangers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from iaside_onnx import compare, decompose, open_archive
from iaside_onnx.analysis import Gate, GateResult, check_gates
from iaside_onnx.errors import ArchiveError
from iaside_onnx.report.gate_files import Undecided, write_junit, write_markdown
from tests.support.planted import planted
from tests.support.sampling import CNN, PICTURES

HOSTILE = (
    "a|b`c`<script>alert(1)</script>\x1b[31m\n# *x* [y](http://z) $q$ @somebody \udcff\ufffe\\"
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[GateResult]:
    """For each of two archives a gate that holds, one that fails, one that is undecided."""
    folder = tmp_path_factory.mktemp("answers")
    decompose(CNN, PICTURES, folder / "made.h5", bands=3, limit=100, threads=1)
    first = planted(folder / "made.h5", folder / "first.h5")
    others = [planted(first, folder / f"{name}.h5", wrong=range(20)) for name in "ab"]
    gates = [
        Gate("margin", "sis", 0.5),
        Gate("margin", "accuracy", 0.01),
        Gate("at_least", "accuracy", 0.81),
    ]
    found = check_gates(compare(first, *others), gates)
    assert [one.answer for one in found] == ["holds", "fails", "undecided"] * 2
    return found


def names_of(answers: list[GateResult], name: str = "{}") -> Mapping[Path, str]:
    paths = {one.archive.path for one in answers} | {answers[0].reference.path}
    return {path: name.replace("{}", path.stem) for path in paths}


@pytest.mark.parametrize("undecided", ["pass", "fail"])
def test_junit_counts_what_its_readers_count(
    answers: list[GateResult], tmp_path: Path, undecided: Undecided
) -> None:
    """A reader shows a green tick, or no tests at all."""
    path = tmp_path / "j.xml"
    write_junit(path, answers, names_of(answers), undecided)
    root = ET.fromstring(path.read_bytes())  # noqa: S314  # our own file
    assert root.tag == "testsuites"
    assert [suite.get("name") for suite in root] == ["a", "b"]
    for element in (root, *root):
        cases = list(element.iter("testcase"))
        assert {suite.tag for suite in root} == {"testsuite"}
        for count, tag in (("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
            assert int(element.get(count, "-")) == sum(c.find(tag) is not None for c in cases)
        assert int(element.get("tests", "-")) == len(cases)
    for suite in root:
        held, failed, open_ = suite
        for case in suite:
            # What GitLab and GitHub's actions know a test by.
            assert {"name", "classname", "time"} <= set(case.keys())
            assert case.get("classname") == suite.get("name")
            assert len(case) == 1
        assert held.find("system-out") is not None
        failure = failed.find("failure")
        assert failure is not None
        assert failure.get("type") == "fails"
        assert "-0.200 [" in failure.get("message", "")
        assert failed.get("name") == "margin accuracy=0.01"
        assert open_[0].tag == ("failure" if undecided == "fail" else "skipped")
        assert "images would tell" in (open_[0].text or "") + open_[0].get("message", "")


def test_junit_of_any_name_is_xml(answers: list[GateResult], tmp_path: Path) -> None:
    """A control character in the name of a file, which XML does not allow, and no test is shown."""
    path = tmp_path / "j.xml"
    write_junit(path, answers, names_of(answers, HOSTILE + "{}"), "fail")
    root = ET.fromstring(path.read_bytes())  # noqa: S314  # our own file
    assert (root[0].get("name") or "").startswith("a|b`c`<script>alert(1)</script>\\x1b[31m\\n#")
    assert all(c.isprintable() or c == "\n" for c in path.read_text("utf-8"))


def test_markdown_holds_the_answers(answers: list[GateResult], tmp_path: Path) -> None:
    """The reader of a pull request learns that something failed, but not what."""
    comparison = compare(answers[0].reference, *{one.archive.path for one in answers})
    path = tmp_path / "m.md"
    write_markdown(path, comparison, ["a sentence"], answers, names_of(answers))
    lines = path.read_text("utf-8").splitlines()
    assert (
        "**6 gates: 2 hold, 2 fail, 2 undecided** (intervals of 98 % over 2 comparisons)" in lines
    )
    assert "- a sentence" in lines
    assert (
        sum(line.startswith("| fails | a | margin accuracy=0.01 | -0.200 ") for line in lines) == 1
    )
    # All rows of a table have as many cells as its head.
    tables = "\n".join(lines).split("\n\n")
    for table in (part for part in tables if part.startswith("|")):
        assert len({row.count("|") for row in table.splitlines()}) == 1
    # A table without an empty line above it is text.
    assert all(part.count("\n| ---") <= 1 for part in tables)
    assert len([part for part in tables if part.startswith("|")]) == 4


def test_markdown_of_any_name_is_text(answers: list[GateResult], tmp_path: Path) -> None:
    """A file name adds a row, a picture, a script or a mention to somebody's pull request."""
    comparison = compare(answers[0].reference, answers[0].archive)
    path = tmp_path / "m.md"
    names = names_of(answers, HOSTILE + "{}")
    write_markdown(path, comparison, [HOSTILE], answers, names)
    text = path.read_text("utf-8")
    own = re.sub(r"</?(details|summary)>|<!-- made by iaside compare -->", "", text)
    assert not re.search(r"[<>`$]|\]\(|@some|\x1b", own)
    assert "a&#124;b&#96;c&#96;&#60;script&#62;" in text
    for table in (part for part in text.split("\n\n") if part.startswith("|")):
        assert len({row.count("|") for row in table.splitlines()}) == 1


def test_only_files_of_its_own_are_replaced(answers: list[GateResult], tmp_path: Path) -> None:
    """A summary that other steps of a job have written is lost."""
    comparison = compare(answers[0].reference, answers[0].archive)
    names = names_of(answers)
    for _ in range(2):
        write_junit(tmp_path / "j.xml", answers, names, "fail")
        write_markdown(tmp_path / "m.md", comparison, [], answers, names)
    (tmp_path / "s.md").write_text("### Tests\n")
    with pytest.raises(ArchiveError, match="was not made by iaside"):
        write_markdown(tmp_path / "s.md", comparison, [], answers, names)
    before = answers[0].archive.path.read_bytes()
    with pytest.raises(ArchiveError, match="was not made by iaside"):
        write_junit(answers[0].archive.path, answers, names, "fail")
    assert answers[0].archive.path.read_bytes() == before
    assert open_archive(answers[0].archive.path)

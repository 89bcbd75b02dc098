"""An open archive in Python: read by name like a mapping, shown on one line."""

from __future__ import annotations

import dataclasses

import h5py
import pytest

from iaside_onnx import Archive
from iaside_onnx.errors import IasideError


def test_an_archive_is_read_like_a_mapping(bundled_archive: Archive) -> None:
    """`in` walks through numbers until it fails, and a loop over the names cannot be written."""
    with h5py.File(bundled_archive.path) as file:
        names = sorted(file)
    assert list(bundled_archive) == bundled_archive.keys() == names
    assert bundled_archive._ipython_key_completions_() == names
    assert len(bundled_archive) == len(names)
    assert all(name in bundled_archive for name in names)
    assert "phi_image" in bundled_archive
    assert "worth" in bundled_archive
    assert "slot" not in bundled_archive
    assert 0 not in bundled_archive
    assert bundled_archive
    assert {bundled_archive: 1}[bundled_archive] == 1


@pytest.mark.parametrize(("wrong", "right"), [("phi_images", "phi_image"), ("Worth", "worth")])
def test_an_unknown_name_is_one_sentence(bundled_archive: Archive, wrong: str, right: str) -> None:
    """`KeyError: 'Worth'` leaves a user to look for the name in the schema."""
    with pytest.raises(KeyError) as raised:
        bundled_archive[wrong]
    path = bundled_archive.path
    assert str(raised.value) == f"{path}: has no variable {wrong!r}, did you mean {right!r}"
    assert isinstance(raised.value, IasideError)
    with pytest.raises(KeyError, match="did you mean"):
        bundled_archive.rows(wrong)


def test_a_name_like_no_other_gets_all_of_them(bundled_archive: Archive) -> None:
    """Nothing is near, so that a hint would mislead."""
    with pytest.raises(KeyError, match=r"; the variables are band, .*, worth$"):
        bundled_archive["zzz"]


def test_methods_are_found_by_completion(bundled_archive: Archive) -> None:
    """A method that is attached at run time is not offered after a dot."""
    assert {"to_xarray", "to_dataframe", "plot", "keys", "worth"} <= set(dir(bundled_archive))
    assert {"to_xarray", "to_dataframe", "plot"} <= set(dir(Archive))


def test_the_text_of_an_archive_says_what_it_is(bundled_archive: Archive) -> None:
    """Whoever prints it must open it again to know what it is about."""
    text = repr(bundled_archive)
    assert str(bundled_archive.path) in text
    assert "fashion-cnn.onnx, 12 images, 6 bands" in text
    with h5py.File(bundled_archive.path) as file:
        assert f"SIS {file['sis'][()]:.3f}, accuracy {file.attrs['accuracy']:.3f}>" in text


def test_the_text_of_a_hostile_archive_stays_on_its_line(bundled_archive: Archive) -> None:
    """A model name with escape sequences rewrites the terminal of whoever prints it."""
    metadata = dataclasses.replace(
        bundled_archive.metadata, model_name="a\x1b[2J\n\u202egnp", accuracy=float("nan")
    )
    values = {name: bundled_archive[name] for name in bundled_archive}
    edited = Archive(bundled_archive.path, bundled_archive.schema, metadata, values, frozenset())
    assert repr(edited).isprintable()
    assert "a\\x1b[2J\\n\\u202egnp" in repr(edited)
    assert "accuracy" not in repr(edited)

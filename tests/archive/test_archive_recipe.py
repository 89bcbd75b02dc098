"""Recipes: JSON both ways, and nothing of another type is taken."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iaside_onnx import Options
from iaside_onnx.archive import Access, Recipe, describe_differences
from iaside_onnx.errors import ArchiveError

# Every field at a value that is not its default.
FULL: dict[str, Any] = {
    "tool_version": "0.1.0",
    "model_sha256": "ab" * 32,
    "model_external": {"weights.bin": "cd" * 32},
    "output": "scores",
    "output_kind": "probabilities",
    "images": "class-folder",
    "images_count": 40,
    "images_digest": "ef" * 32,
    "labels": "given",
    "preprocess": {"input_size": [3, 8, 8], "mean": [0.1, 0.2, 0.3], "interpolation": None},
    "method": "sampled",
    "bands": 8,
    "partition": "l2",
    "spacing": "octave",
    "baseline": "mean",
    "mean_color": [0.25, 0.1, 1 / 3],
    "pixel_range": "clip",
    "limit": 30,
    "seed": 2**63 - 1,
    "batch_size": 32,
    "threads": 2,
    "provider": "CPUExecutionProvider",
    "device": "cpu",
    "provider_options": {"arena": "1"},
    "runtime": "onnxruntime",
    "runtime_version": "1.2.3",
    "budget": 1000,
    "target_se": 0.125,
    "target_sis_width": 1e-300,
    "inference": "sample",
    "population": 50,
    "input_layout": "NHWC",
    "batch_rule": "alone",
    "nondeterministic": "Dropout in training mode, node 'drop'",
    "merged": 2,
    "extends": "01" * 32,
}
OPTION_NAMES = {one.name for one in fields(Options)}
OPTIONAL = {
    "provider_options", "budget", "target_se", "target_sis_width", "inference", "population",
    "input_layout", "batch_rule", "nondeterministic", "merged", "extends",
}  # fmt: skip
# A value that no field of its type takes.
WRONG: dict[str, Any] = {
    **dict.fromkeys(FULL, 7.5),
    **dict.fromkeys(("target_se", "target_sis_width"), "7.5"),
    **dict.fromkeys(("bands", "seed", "images_count", "batch_size"), True),
}


def recipe(**changes: Any) -> Recipe:
    return Recipe.from_json({**FULL, **changes})


def test_every_field_is_there() -> None:
    """A field that no test below looks at."""
    assert list(FULL) == [field.name for field in fields(Recipe) if field.name != "access"]


def test_it_comes_back_from_json_as_it_was() -> None:
    """A resumed run is taken for another, or an archive cannot be extended."""
    text = json.dumps(recipe().to_json())
    assert json.loads(text) == FULL
    assert list(json.loads(text)) == list(FULL)
    again = Recipe.from_json(json.loads(text))
    assert again == recipe()
    assert again.mean_color == (0.25, 0.1, 1 / 3)


def test_what_is_at_its_default_is_left_out() -> None:
    """Archives of earlier versions, which lack it, would differ from those of this one."""
    short = {name: value for name, value in FULL.items() if name not in OPTIONAL}
    found = Recipe.from_json(short)
    assert found.to_json() == {**short, "provider_options": {}}
    assert (found.budget, found.inference, found.provider_options) == (None, "population", {})


def test_it_travels_to_other_processes() -> None:
    """A worker would evaluate something else."""
    access = Access(Path("a.onnx"), "images", {"cat": 0}, None, {"threads": 2})
    sent = replace(recipe(), access=access)
    found = pickle.loads(pickle.dumps(sent))  # noqa: S301 - made right here
    assert found == sent
    assert found.access == access


def test_where_things_are_is_no_part_of_it() -> None:
    """A run that is resumed with a moved model is refused."""
    here = replace(recipe(), access=Access(Path("a.onnx"), "images"))
    there = replace(recipe(), access=Access(Path("b.onnx"), "others"))
    assert here == there == recipe()
    assert here.to_json() == FULL
    assert here.differences(there) == ""
    assert Recipe.from_json({**FULL, "access": {"model": "x"}}).access is None
    assert "a.onnx" not in repr(here)


@pytest.mark.parametrize("name", FULL)
def test_each_field_counts(name: str) -> None:
    """Two runs with other results are taken for the same."""
    default = {"provider_options": {}, "inference": "population"}.get(name)
    other = {
        "output_kind": "logits", "labels": "predicted", "partition": "l1", "spacing": "linear",
        "baseline": "noise", "pixel_range": "minmax", "mean_color": [1.0], "preprocess": {},
        "model_external": {},
    }  # fmt: skip
    simple = 1 if isinstance(FULL[name], int | float) else "other"
    changed = recipe(**{name: default if name in OPTIONAL else other.get(name, simple)})
    assert changed != recipe()
    assert recipe().differing(changed, FULL) == [name]
    text = recipe().differences(changed)
    # The name of an option, or words: users know no other names.
    head = re.split(r" \(|\.", text)[0]
    assert head in OPTION_NAMES or ("_" not in head and head not in FULL)
    if " there, " in text:
        assert text.endswith(" now)")
    assert recipe().differences(changed, ignoring=[name]) == ""


def test_differences_name_both_values() -> None:
    """The user cannot see what to change; a default that is shown as null is no value."""
    now, there = recipe(), recipe(bands=4, inference="population", budget=None)
    assert now.differences(there) == (
        'bands (4 there, 8 now), budget (null there, 1000 now), inference ("population" there, '
        '"sample" now)'
    )
    assert now.differences(recipe()) == ""
    assert (
        describe_differences({"a": 1}, {"b": 2}) == "a (null there, 1 now), b (2 there, null now)"
    )


def test_limits_can_be_left_out() -> None:
    """An extension has other limits than what it extends, and must differ in nothing else."""
    names = ("budget", "target_se", "target_sis_width")
    other = recipe(budget=5, target_se=None, target_sis_width=0.5)
    assert other != recipe()
    assert other.without(names) == recipe().without(names)
    assert recipe(seed=1).without(names) != recipe().without(names)


@pytest.mark.parametrize(
    ("old", "new"), [("population", "population"), ("images", "sample"), ("sample", "sample")]
)
def test_words_of_earlier_versions_are_read(old: str, new: str) -> None:
    """An archive that nobody can extend or verify any more."""
    data = {name: value for name, value in FULL.items() if name != "inference"}
    assert Recipe.from_json({**data, "about": old}).inference == new


@pytest.mark.parametrize("about", [7, None, [], {}, "neither", ["images"]])
def test_a_word_that_never_was_is_refused(about: object) -> None:
    """A traceback about what cannot be hashed."""
    with pytest.raises(ValueError, match="inference"):
        Recipe.from_json({**FULL, "about": about})


@pytest.mark.parametrize("name", FULL)
def test_another_type_is_refused_by_name(name: str) -> None:
    """A traceback from the depths of NumPy, long after the file was read."""
    with pytest.raises(ValueError, match=rf"\$\.{name}"):
        recipe(**{name: WRONG[name]})


@pytest.mark.parametrize("name", sorted(FULL.keys() - OPTIONAL))
def test_a_field_that_is_missing_is_named(name: str) -> None:
    """An archive that was edited, without a word about where."""
    data = {key: value for key, value in FULL.items() if key != name}
    with pytest.raises(ValueError, match=f"missing required field `{name}`"):
        Recipe.from_json(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*FULL, "about"]), JSON)
def test_any_value_is_taken_whole_or_refused_by_name(name: str, value: Any) -> None:
    """An exception that no caller expects, or a value that is changed on the way."""
    data = {key: old for key, old in FULL.items() if (key, name) != ("inference", "about")}
    try:
        found = Recipe.from_json({**data, name: value})
    except ValueError as error:
        assert ("inference" if name == "about" else name) in str(error)  # noqa: PT017
        return
    field = "inference" if name == "about" else name
    kept = found.to_json().get(field, {"inference": "population"}.get(field))
    word = {"images": "sample"}.get(value, value) if name == "about" else value
    # NaN is not equal to itself.
    assert kept == word or repr(kept) == repr(word)


@given(JSON)
def test_hostile_options_are_a_sentence(value: Any) -> None:
    """A traceback from an archive of a stranger."""
    for options in (
        value,
        {"given": {}, "resolved": value},
        {"given": value, "resolved": FULL},
        {"given": {}, "resolved": {"about": value}},
    ):
        try:
            assert Recipe.from_options(options, Path("a.h5")) == recipe()
        except ArchiveError as error:
            assert "a.h5: the attribute 'options' does not say" in str(error)  # noqa: PT017
            assert "damaged or was edited" in str(error)  # noqa: PT017


def test_json_that_never_ends_is_refused() -> None:
    """A recursion that takes the process along."""
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ArchiveError, match="does not say how"):
        Recipe.from_options({"given": {}, "resolved": {**FULL, "seed": deep}}, Path("a.h5"))
    # Takes it apart again without recursion.
    while deep:
        deep = deep.popitem()[1]


def test_a_field_that_is_not_known_is_left_out() -> None:
    """What a later version adds must not keep this one from reading."""
    assert Recipe.from_json({**FULL, "later": 5}) == recipe()

"""Options of functions: all are shown with type, default and meaning; a wrong one gets a hint."""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from iaside_onnx import Options, decompose, extend, verify
from iaside_onnx.errors import IasideError

FUNCTIONS: list[Callable[..., Any]] = [decompose, extend, verify]


def test_the_signature_shows_every_option() -> None:
    """Completion and help would show `**options`, and nobody learns what there is."""
    shown = inspect.signature(decompose).parameters
    names = [field.name for field in fields(Options)]
    assert list(shown) == ["model", "images", "output", *names, "progress"]
    types = get_type_hints(Options)
    for field in fields(Options):
        assert shown[field.name].default == field.default
        assert shown[field.name].annotation == types[field.name]
        assert shown[field.name].kind is inspect.Parameter.KEYWORD_ONLY
    assert shown["model"].default is inspect.Parameter.empty
    assert shown["model"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_help_says_what_every_option_means(function: Callable[..., Any]) -> None:
    """An option with a type and no meaning sends its user to the source."""
    text = pydoc.plain(pydoc.render_doc(function))
    for name in inspect.signature(function).parameters:
        assert f"\n        {name}: " in text, name
    assert "**" not in text
    assert text.startswith(f"Python Library Documentation: function {function.__name__} in")


def test_help_gives_defaults_and_choices() -> None:
    """`partition: Partition` says nothing of what may be given."""
    text = pydoc.plain(pydoc.render_doc(decompose))
    assert "bands: int = 8" in text
    assert "partition: Literal['linf', 'l2', 'l1'] = 'linf'" in text
    assert re.search(r"batch_size: .{0,20}Literal\['auto'\]\]? = 32", text)


@pytest.mark.parametrize(
    ("function", "wrong", "right"),
    [(decompose, "band", "bands"), (decompose, "batchsize", "batch_size"),
     (extend, "target_sis", "target_se"), (verify, "sampel", "sample")],
)  # fmt: skip
def test_a_wrong_option_names_the_nearest(
    function: Callable[..., Any], wrong: str, right: str
) -> None:
    """`__init__() got an unexpected keyword argument` names a function that nobody called."""
    arguments = ("m.onnx", "images.npz", "out.h5") if function is decompose else ("out.h5",)
    with pytest.raises(TypeError) as raised:
        function(*arguments, **{wrong: 1})
    assert isinstance(raised.value, IasideError)
    assert str(raised.value) == (
        f"{function.__name__} has no option {wrong!r}, did you mean {right!r}"
    )


def test_an_option_like_no_other_gets_all_of_them() -> None:
    """Nothing is near, so that a hint would mislead."""
    with pytest.raises(TypeError, match=r"no option 'zzz'; the options are model, .*progress$"):
        decompose("m.onnx", "images.npz", "out.h5", zzz=1)  # type: ignore[call-arg]  # so

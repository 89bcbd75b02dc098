"""Functions that show all of their keyword arguments, and name the nearest one to a wrong one.

The options of `decompose` are declared once, as the fields of `Options`. What runs code (`help`,
`inspect.signature`, completion in IPython and Jupyter) finds them with types, defaults and meanings
in a signature and a docstring that are made of the fields here. Type checkers and editors run no
code: they read the annotation ``**options: Unpack[OptionWords]``, which a test holds to the fields.
Parameters written out would show defaults in editors too, but be a third list of the same names.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from iaside_onnx.errors import UnknownOptionError, nearest

__all__ = ["named_options"]

_F = TypeVar("_F", bound=Callable[..., Any])


def named_options(options: type | None = None, *, old: tuple[str, ...] = ()) -> Callable[[_F], _F]:
    """Decorate a function whose keyword arguments are options.

    Args:
        options: the dataclass whose fields its ``**options`` are, described under ``Attributes``;
            None where all are written out.
        old: words of earlier versions, which are taken and not shown.
    """

    def decorate(function: _F) -> _F:
        signature = _signature(function, options)
        known = {*signature.parameters, *old}

        @functools.wraps(function)
        def call(*args: Any, **given: Any) -> Any:
            for name in given:
                if name not in known:
                    hint = nearest(name, list(signature.parameters), "options")
                    raise UnknownOptionError(f"{function.__name__} has no option {name!r}{hint}")
            return function(*args, **given)

        call.__signature__ = signature  # type: ignore[attr-defined]  # as `inspect` reads it
        call.__doc__ = _description(function, options)
        return call  # type: ignore[return-value]  # of the same type, but for a type checker

    return decorate


def _signature(function: Callable[..., Any], options: type | None) -> inspect.Signature:
    """The signature, with types instead of their names, so that words to choose from are shown."""
    types = get_type_hints(function)
    own = [
        one.replace(annotation=types[one.name])
        for one in inspect.signature(function).parameters.values()
        if one.kind is not one.VAR_KEYWORD
    ]
    added = []
    if options is not None:
        of_options = get_type_hints(options)
        added = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=of_options[field.name],
            )
            for field in fields(options)
        ]
    first = [one for one in own if one.kind is not one.KEYWORD_ONLY]
    last = [one for one in own if one.kind is one.KEYWORD_ONLY]
    return inspect.Signature([*first, *added, *last], return_annotation=types["return"])


def _description(function: Callable[..., Any], options: type | None) -> str | None:
    """The docstring, with what the options mean in place of the line about ``**options``."""
    text = inspect.getdoc(function)
    described = options and inspect.getdoc(options)
    if not text or not described:
        return text
    lines = described.partition("Attributes:\n")[2].rstrip()
    return "\n".join(
        lines if line.lstrip().startswith("**options:") else line for line in text.split("\n")
    )

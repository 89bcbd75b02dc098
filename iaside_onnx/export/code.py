"""Models given as code, ``package.module:factory``: imported, never unpickled."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iaside_onnx.errors import ExportError

__all__ = [
    "Hashes",
    "call_factory",
    "failure",
    "load_code",
    "one_line",
    "required_arguments",
    "sha256_of",
]

Hashes = dict[str, str]
"""SHA-256 of each file that a model was made of, by file name."""

_PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".bin")


def load_code(name: str) -> tuple[Any, Hashes]:
    """Import what ``package.module:factory`` names; and hash the file that defines it.

    The current folder and PYTHONPATH are searched.

    Raises:
        ExportError: the name has another form, the module cannot be imported, or has no such
            attribute.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        loads = (
            "; loading a pickle runs code from its author, so write a module with a function that "
            "returns the model"
            if Path(name).suffix.lower() in _PICKLES
            else ""
        )
        raise ExportError(
            f"{name!r} does not name code: package.module:factory was expected, where factory is "
            f"a class, or a function that returns the model{loads}"
        )
    if "/" in module_name or module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise ExportError(
            f"{name!r}: write the module with dots and without .py: {dotted}:{attribute}"
        )
    with _current_folder_first():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
                raise ExportError(
                    f"there is no module {error.name!r} in the current folder or on PYTHONPATH; "
                    "run the command in its folder, or set PYTHONPATH"
                ) from error
            raise failure(f"the module {module_name!r} cannot be imported", error) from error
        except (Exception, SystemExit) as error:
            raise failure(f"the module {module_name!r} cannot be imported", error) from error
    try:
        found: Any = module
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        close = difflib.get_close_matches(attribute, dir(module), n=1)
        hint = f"did you mean {close[0]!r}" if close else "check the name"
        where = getattr(module, "__file__", None) or "built in"
        raise ExportError(
            f"the module {module_name!r} ({where}) has no {attribute!r}; {hint}"
        ) from error
    path = getattr(module, "__file__", None)
    return found, {} if path is None else {Path(path).name: sha256_of(Path(path))}


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Search the current folder first, as ``python -m`` does and an installed script does not."""
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def call_factory(found: Any, source: str, *arguments: Any) -> Any:
    """Call a class or function of the user.

    Raises:
        ExportError: it fails.
    """
    try:
        return found(*arguments)
    except (Exception, SystemExit) as error:
        how = "with the weights" if arguments else "without arguments"
        raise failure(f"{source} failed when it was called {how}", error) from error


def required_arguments(function: Callable[..., Any]) -> list[str]:
    """Names of the positional arguments that have no default.

    Raises:
        TypeError: Python cannot tell its signature.
        ValueError: likewise.
    """
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]


def sha256_of(path: Path) -> str:
    """Hash of a file; of a folder, over the names and hashes of all files in it.

    Raises:
        ExportError: the file or folder cannot be read.
    """
    try:
        if path.is_dir():
            digest = hashlib.sha256()
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    digest.update(f"{file.relative_to(path).as_posix()}\0".encode())
                    digest.update(sha256_of(file).encode())
            return digest.hexdigest()
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        found = "does not exist" if isinstance(error, FileNotFoundError) else error.strerror
        raise ExportError(f"{path}: {found}; check the path") from error


def failure(what: str, error: BaseException) -> ExportError:
    """The error to raise where a framework, or the user's code, failed."""
    return ExportError(f"{what} ({type(error).__name__}: {one_line(error)})")


def one_line(error: BaseException, longest: int = 240) -> str:
    """The beginning of a message, on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= longest else text[:longest] + "..."

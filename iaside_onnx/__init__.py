"""Audit how an image classifier uses spatial frequencies, through ONNX.

I-ASIDE: Luo, McDermott, O'Riordan, TMLR 2024, arXiv:2408.01139.

Names are imported when they are first used, from the modules that the stub beside this file names.
"""

import os as _os

# From 1.29 on official builds of ONNX Runtime report to Microsoft what is run, hashes of models
# included, and keep files for that in the user's cache. ONNX Runtime reads this variable once, when
# it is loaded, so it is set before anything else of this package is imported.
_os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _attach() -> None:
    # Not at the top of the module: the import takes 20 ms, in which Ctrl-C is a traceback.
    import lazy_loader

    lazy = lazy_loader.attach_stub(__name__, __file__)
    globals().update(zip(("__getattr__", "__dir__", "__all__"), lazy, strict=True))


def __getattr__(name: str) -> object:
    _attach()
    return globals()[name] if name == "__all__" else globals()["__getattr__"](name)


def __dir__() -> list[str]:
    _attach()
    return list(globals()["__dir__"]())

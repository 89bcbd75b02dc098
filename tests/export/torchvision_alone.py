"""torchvision beside a CPU build of PyTorch.

PyPI has one build of torchvision, for CUDA. Its compiled operators do not load beside PyTorch's CPU
build, and then torchvision cannot be imported. The tests do not use these operators (boxes of
detectors), so it is enough to declare those that torchvision describes on import.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

__all__ = ["make_importable"]

_KEPT: list[Any] = []


def make_importable() -> None:
    """Declare the operators of torchvision, where its own library does not load."""
    if importlib.util.find_spec("torch") is None or _KEPT:
        return
    import torch

    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return
    try:
        torch.ops.load_library(str(Path(found.origin).with_name("_C.so")))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        # The declarations last as long as the object.
        _KEPT.append(library)

"""``python -m iaside_onnx``: the same as the command ``iaside``."""

from iaside_onnx.cli import main

main()

"""The command ``iaside``, also as ``python -m iaside_onnx``."""

import os
import sys
import warnings

__all__ = ["main"]

try:
    from iaside_onnx.stopping import end_at_once_on_signals
except KeyboardInterrupt:
    sys.stderr.write("Error: interrupted\n")
    os._exit(130)


def main() -> None:
    """Run the command line; from the first import on, a signal ends it with one sentence."""
    end_at_once_on_signals()
    if not sys.warnoptions:
        # What NumPy and others warn of is for programmers; --verbose shows it. Also for workers.
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"
    from iaside_onnx.cli import main as run

    run()


if __name__ == "__main__":
    main()

"""The version of the package; archives carry it."""

__all__ = ["__version__"]

__version__ = "0.1.0"

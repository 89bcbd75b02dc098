"""Trains, exports and measures the bundled models in `models/`."""

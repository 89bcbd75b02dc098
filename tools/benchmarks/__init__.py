"""Measures speed and memory on the CPU."""

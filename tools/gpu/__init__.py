"""Checks what needs an NVIDIA GPU."""

"""Damages input files and checks how the command line reads them."""

"""Scripts for developers of the project, run from the root as `python -m tools.FOLDER.SCRIPT`."""

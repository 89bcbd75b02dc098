"""What scripts of several folders share."""

"""One module for each resource; each offers ``router``."""

"""The command line: a client of the API, and the few commands that work on the data directory itself."""

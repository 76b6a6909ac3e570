"""The command line: a client of the API, plus ``serve`` and what works on a data directory without a server."""

"""Holdfast deploys containers, and rolls back their data as safely as their code."""

__version__ = "0.1.0"

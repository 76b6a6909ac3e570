"""Snapshots as portable tar archives: the format, a reader that trusts nothing, a writer, and the store built on them.

``docs/reference/archive-format.md`` documents the format for programs other than Holdfast.
"""

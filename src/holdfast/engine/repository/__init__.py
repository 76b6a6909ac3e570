"""The snapshot repository: deduplicated, verified, on a directory or on object storage.

The format is documented for people and other programs in ``docs/reference/repository-format.md``.
"""

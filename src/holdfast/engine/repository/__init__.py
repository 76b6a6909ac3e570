"""The snapshot repository: deduplicated, verified, on a directory or on object storage."""

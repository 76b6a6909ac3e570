"""Use cases, async.

They hold the locks, tell the story in order, and leave files to the engine and containers to the runtime.
"""

"""What Holdfast exists for: capture, store, stage, swap, recover.

Synchronous. Knows files and directories; knows nothing of containers, the database or HTTP. Every system call on
somebody's data goes through :mod:`holdfast.engine.fs`.
"""

"""Pure rules and data of Holdfast: standard library only, no I/O, no async."""

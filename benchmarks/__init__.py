"""Benchmarks: `make bench`. Figures come from here and from nowhere else."""

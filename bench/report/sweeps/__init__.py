"""Sweeps: the runs of a multirun as one report."""

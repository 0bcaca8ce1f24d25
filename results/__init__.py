"""Reported numbers (committed), reference run (committed), runs and store (ignored)."""

"""Transforms by which attackers clean photos."""

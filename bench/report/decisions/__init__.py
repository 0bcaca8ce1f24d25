"""Decisions: which differences between methods are real, worked out of records once and kept beside the numbers."""

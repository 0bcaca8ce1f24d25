"""Trainings of purifiers."""

"""Reported numbers beside measured ones: what the papers print, pairings, claims and their tables."""

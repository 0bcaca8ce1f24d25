"""Asking services: keys, rates, limits, a journal of answers, galleries that are deleted in any case."""

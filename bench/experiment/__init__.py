"""Experiments: from a composed config through planning, work and scoring to results."""

"""Evaluation protocols, one folder each: questions that are asked of protected photos."""

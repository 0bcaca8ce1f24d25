"""Generators: what makes other pictures of a person from one photo."""

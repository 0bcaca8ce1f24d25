"""Defaults of ``cloakbench protect``: the method, its surrogates, and what to expect of it."""

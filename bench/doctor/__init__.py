"""``cloakbench doctor``: what an experiment needs, and how long it will take."""

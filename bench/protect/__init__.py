"""``cloakbench protect``: a person's own photos, protected from file to file."""

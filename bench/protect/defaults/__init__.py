"""What ``cloakbench protect`` does where nobody says: the method, its surrogates, and what to expect of it."""

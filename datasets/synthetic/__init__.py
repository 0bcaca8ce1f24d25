"""The embedded synthetic face world: identities, nuisances, renderer, roles."""

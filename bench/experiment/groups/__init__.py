"""Groups of the probes of an experiment."""

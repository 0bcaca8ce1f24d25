"""`FAILED`: how a method says why there is no protected photo."""

FAILED = "failed"
"""Name of the fact (`cloakbench.methods.context.ProtectContext.facts`) that has, by photo, the reason."""

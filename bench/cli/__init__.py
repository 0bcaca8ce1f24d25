"""The ``cloakbench`` command: one module per verb, each with ``main(words) -> exit status``."""

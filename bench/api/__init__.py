"""CloakBench: a reproducible benchmark harness for facial-image privacy protection.

This folder is the package ``cloakbench`` itself: ``pyproject.toml`` maps it, and the folders beside ``bench/`` to its
subpackages. Importing it costs nothing; torch is imported where it is used.
"""

from __future__ import annotations

from importlib import metadata

__all__ = ["__version__"]

try:
    __version__ = metadata.version("cloakbench")
except metadata.PackageNotFoundError:  # a copy of the files that nobody installed
    __version__ = "0+unknown"

"""Lines of a log file: no secrets, and nothing in a name that steers the terminal it is read on."""

from __future__ import annotations

import logging

from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.redaction import without_secrets


class LogFileFormatter(logging.Formatter):
    """Keeps the lines of a record, such as those of a traceback, and spells out every other invisible character."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(
            terminal(line.replace("\t", "    ")) for line in without_secrets(super().format(record)).split("\n")
        )

"""`Vocabulary`: a service's own words for gender and expression, and its way to say an age, in the words of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Reading = str | float | tuple[float, float]
"""An attribute in the service's own words: a class, a number, or a range from and to."""

GENDERS = ("male", "female")
EXPRESSIONS = ("neutral", "happy", "surprised", "negative")
"""Classes of the task ``services3``: every expression but three counts as negative."""

NOTHING_SAID = ""
"""What a word means by which a service says that it does not know."""


@dataclass(frozen=True)
class Vocabulary:
    """What a service's words mean in the classes of ``services3``. An attribute without a table is not offered.

    Attributes:
        gender: the service's words to `GENDERS`.
        expression: the service's words to `EXPRESSIONS`, or to `NOTHING_SAID`.

    Raises:
        ValueError: a meaning that is no class of the task.
    """

    gender: Mapping[str, str] = field(default_factory=dict, hash=False)
    expression: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for table, classes in ((self.gender, GENDERS), (self.expression, (*EXPRESSIONS, NOTHING_SAID))):
            if wrong := sorted(set(table.values()) - set(classes)):
                raise ValueError(f"vocabulary: {', '.join(wrong)} is none of {', '.join(classes)}")

    def unknown(self, readings: Mapping[str, Reading]) -> str:
        """The first word that is not in the tables, with its attribute; empty when there is none."""
        for name, table in (("gender", self.gender), ("expression", self.expression)):
            if name in readings and readings[name] not in table:
                return f"{name} {readings[name]!r}"
        return ""

    def task_words(self, readings: Mapping[str, Reading]) -> dict[str, str | float]:
        """Class of ``gender`` and ``expression`` and years of ``age``, where the service said them.

        The age of a range is its middle.

        Raises:
            KeyError: a word that is not in the tables.
        """
        said: dict[str, str | float] = {}
        for name, table in (("gender", self.gender), ("expression", self.expression)):
            if name in readings and (meaning := table[str(readings[name])]) != NOTHING_SAID:
                said[name] = meaning
        age = readings.get("age")
        if isinstance(age, tuple):
            said["age"] = (age[0] + age[1]) / 2
        elif isinstance(age, float):
            said["age"] = age
        return said

"""`AsksOutside`: protocols whose judges are reached over a network, from the process of the run itself.

A rate, a limit and a gallery belong to a key, so such judges are asked from one process, after everything is protected,
about everything that is due at once. Answers are stored as all others are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from omegaconf import DictConfig

from cloakbench.bench.engine.protocol import Answer, Judge
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos


@dataclass(frozen=True)
class DueAnswer:
    """An answer that is not in the store.

    Attributes:
        judge: who is to be asked.
        condition: under what.
        photos: about which.
        key: where the answer goes.
    """

    judge: Judge
    condition: Condition
    photos: ChunkPhotos
    key: str


class AsksOutside(ABC):
    """What a protocol offers beside `cloakbench.bench.engine.protocol.Protocol` when its judges are outside."""

    @abstractmethod
    def may_ask(self, planning: Planning, photos: Mapping[Judge, int]) -> None:
        """Look whether judges may be asked about so many photos each, before any work.

        Raises:
            ConfigError: nobody has said so; one line.
        """

    @abstractmethod
    def asks_in(self, config: DictConfig, photos: int | None) -> Iterator[str]:
        """Say who is asked in an experiment, and how much at most, before anything of it is built.

        Args:
            config: of the experiment.
            photos: published and clean ones, at most; None where only they can tell.

        Raises:
            ConfigError: a setting is wrong.
        """

    @abstractmethod
    def would_ask(self, planning: Planning, photos: Mapping[Judge, int]) -> Iterator[str]:
        """Say who would be asked about so many photos each, and how much at most: a clause for each judge."""

    @abstractmethod
    def ask(
        self, planning: Planning, due: Sequence[DueAnswer], worker: Worker
    ) -> Iterator[tuple[DueAnswer, Answer | str]]:
        """Ask. What is due comes back once each, in any order, with its answer or why there is none."""

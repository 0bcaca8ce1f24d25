"""Nothing is done twice in a run: methods built, photos hashed, states read; and the config goes a straight way."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from omegaconf import DictConfig
from omegaconf.base import Node

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.run import run
from cloakbench.bench.plan import plan, planning
from cloakbench.bench.store.store import Store

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
MOST_RETURNS = 28  # two of them to see whether somebody outside is to be asked
Words = Callable[..., DictConfig]


class Seen:
    """What a run did, counted.

    Attributes:
        built: (method, budget) to how often the method was built.
        hashed: name and rows of photos to how often they were digested.
        read: unit to how often what is known of its photos was read.
    """

    def __init__(self) -> None:
        self.built: Counter[Any] = Counter()
        self.hashed: Counter[Any] = Counter()
        self.read: Counter[str] = Counter()


@contextmanager
def counted() -> Iterator[Seen]:
    seen = Seen()
    make, digest, about = plan.make_protector, planning.tensor_digest, Store.read_about

    def built(config: Any, key: str, where: str = "") -> Any:
        seen.built[key, config.get("epsilon_255")] += 1
        return make(config, key, where)

    def hashed(images: Any) -> str:
        found = digest(images)
        seen.hashed[found] += 1
        return found

    def read(self: Store, kind: str, key: str) -> Any:
        found = about(self, kind, key)
        seen.read[key] += found is not None
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "make_protector", built)
        patch.setattr(planning, "tensor_digest", hashed)
        patch.setattr(Store, "read_about", read)
        yield seen


@pytest.fixture(scope="module")
def words(faces_cache: Path) -> Words:
    def compose(folder: Path, experiment: str, *more: str) -> DictConfig:
        given = [f"experiment={experiment}", f"paths.results={folder}", f"paths.cache={faces_cache}", *more]
        return compose_config([*given, "runtime.workers=0"], config_dirs=[str(CONFIG_DIR)])

    return compose


POISONING = (
    "tiny_poisoning",
    "protocols.poisoning.seeds=[0]",
    "protocols.poisoning.clean_shares=[0.0]",
    "~protocols.poisoning.methods.em_class",
    "~protocols.poisoning.more_epsilons_255",
    "~protocols.poisoning.regimes.adversarial",
)
PROBES = ("tiny_glance", "dataset.identities=2", "dataset.probes_per_identity=2", "report.figures=false")


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [PROBES, POISONING], ids=["probes", "poisoning"])
def test_a_run_builds_hashes_and_reads_nothing_in_vain(
    experiment: tuple[str, ...], words: Words, tmp_path: Path
) -> None:
    for _ in ("from nothing", "when all is done"):
        with counted() as seen:
            run(words(tmp_path, *experiment))
        assert seen.built and set(seen.built.values()) == {1}
        assert seen.hashed and set(seen.hashed.values()) == {1}
        assert len(seen.read) >= 3 and max(seen.read.values()) <= 2


def rooms_on_the_way(config: DictConfig) -> list[str]:
    """Rooms that a run takes its config through, in order: what the invariant below counts.

    The run's config is followed through the calls: a function is on the way if one of its arguments is the config, a
    node of it, or an object that holds it as ``config`` or through ``experiment``, ``planning`` or ``status``. Each
    function is entered once, where it is first reached. Its room is the folder below ``bench``, or the package beside
    ``bench``, in which its module stands; a method stands where the class of its object does, so that a hook which a
    protocol leaves to its default leads nobody away from the protocol. Neighbours in one room are one stay.
    """
    entered: dict[Any, str] = {}
    holders = ("config", "experiment", "planning", "status")

    def carries(value: Any, depth: int = 2) -> bool:
        if isinstance(value, Node):
            return True
        state = getattr(value, "__dict__", None)
        if depth == 0 or not isinstance(state, dict) or not type(value).__module__.startswith("cloakbench."):
            return False
        return any(carries(state[name], depth - 1) for name in holders if name in state)

    def follow(frame: FrameType, event: str, _: object) -> None:
        code, place = frame.f_code, frame.f_globals.get("__name__", "")
        if event != "call" or code in entered:
            return
        if not place.startswith("cloakbench.") and code.co_varnames[:1] != ("self",):
            return  # before its variables are looked at, which is slow
        owner = type(frame.f_locals.get("self")).__module__
        module = owner if owner.startswith("cloakbench.") else place
        if not module.startswith("cloakbench."):
            return
        given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(carries(frame.f_locals.get(name)) for name in given):
            parts = module.split(".")[1:]
            entered[code] = ".".join(parts[:2] if parts[0] == "bench" else parts[:1])

    sys.setprofile(follow)
    try:
        run(config)
    finally:
        sys.setprofile(None)
    return [room for room, _ in groupby(entered.values())]


@pytest.mark.slow
def test_the_way_of_a_run_through_the_rooms_is_straight(words: Words, tmp_path: Path) -> None:
    stays = rooms_on_the_way(words(tmp_path, *PROBES))
    assert {"bench.experiment", "bench.plan", "bench.config"} <= set(stays)
    returns = len(stays) - len(set(stays))
    assert returns <= MOST_RETURNS, f"{returns} returns: {' '.join(stays)}"

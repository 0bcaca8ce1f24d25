"""From the ``poisoning`` block of a config to units of protection and trainings, each with a content key.

Every attacker meets the first regime and share of the block; the other regimes and shares, one at a time, are met by
the attackers that ``variants_on`` names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.budgets import poisoning_budgets_of, refuse_idle_poisoning_budgets
from cloakbench.bench.config.build import build
from cloakbench.bench.config.node_keys import node_code
from cloakbench.bench.config.schema import KINDS
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.engine.plan import Cell, Chunk, Unit, cells_of, make_protector, surrogate_labels, unit_key
from cloakbench.bench.engine.worker import UNCHANGED, Brief
from cloakbench.bench.protocols.poisoning.brief import CellUnits, Poisoning, PoisoningBrief, Scenario
from cloakbench.bench.store.faces import write_faces
from cloakbench.bench.store.store import Store
from cloakbench.datasets.base import Dataset, FaceSet, Manifest

QUALITY = ("ssim", "linf_255")
"""Image metrics of published photos: the survey's, and the budget that was really used."""
_SETTINGS = frozenset(
    name for block, _, name in (key.rpartition(".") for key in KINDS) if block == "poisoning" and name != "*"
)


def check_poisoning(config: DictConfig) -> None:
    """Look at every setting of the ``poisoning`` block before any photo is opened.

    Raises:
        ConfigError: one is unknown, missing or wrong; an attacker or regime cannot be built.
    """
    block = config.poisoning
    if wrong := sorted(set(block) ^ _SETTINGS):
        raise ConfigError(f"poisoning has no setting {wrong[0]!r} or lacks it; see conf/poisoning/survey.yaml")
    poisoning_cells(config)
    for name in ("attackers", "regimes"):
        for key, one in _plain(block[name]).items():
            build(one, f"poisoning.{name}.{key}")
    list(poisoning_scenarios(block))


def plan_poisoning(
    config: DictConfig, dataset: Dataset, manifest: Manifest, store: Store, brief: Brief, auxiliary_digest: str
) -> Poisoning:
    """Plan the ``poisoning`` block of an experiment.

    Raises:
        ConfigError: the block or the data set lacks something; the message says what.
    """
    block = config.poisoning
    train, test, others = _faces(dataset, block.identities, block.other_identities)
    digest = manifest.digest()
    names = train.identities()
    train_key = write_faces(store, digest, f"train of {len(names)} people", train)
    work = replace(
        brief,
        faces={**brief.faces, "probe": train_key, "reference": train_key},
        targets=(),
        transforms={UNCHANGED: {}},
        quality=QUALITY,
    )
    cells = poisoning_cells(config)
    by_id = {entry.image_id: entry.sha256 for entry in manifest.entries}
    digests = {"probe": [by_id[name] for name in train.image_id]}
    digests["reference"] = digests["probe"]
    originals: dict[tuple[int, ...], str] = {}
    planned = []
    for cell in cells:
        whole = make_protector(cell.config, cell.method).scope == "dataset"
        people = len(names) if whole else config.plan.chunk_identities
        units = []
        for chunk in _chunks(train, people, block.references):
            key, inputs = unit_key(
                cell,
                chunk,
                {"probe": train, "reference": train},
                digests,  # type: ignore[arg-type]
                brief.fingerprints,
                auxiliary_digest,
                config.seed,
            )
            units.append((Unit(cell, chunk, key), inputs))
            if chunk.probes not in originals:
                originals[chunk.probes] = tensor_digest(train.images[list(chunk.probes)])
        planned.append(CellUnits(tuple(units), tuple(originals[unit.chunk.probes] for unit, _ in units)))
    attackers, regimes = _plain(block.attackers), _plain(block.regimes)
    number = {name: place for place, name in enumerate([*names, *others.identities()])}
    more = len(number) - len(names)
    return Poisoning(
        PoisoningBrief(
            work=work,
            test=write_faces(store, digest, f"test of {len(names)} people", test),
            cells=tuple(planned),
            attackers=attackers,
            regimes=regimes,
            code={
                key: node_code(value, base=("cloakbench.models.base",))
                for key, value in {**attackers, **regimes}.items()
            },
            labels=tuple(number[name] for name in train.identity),
            test_labels=tuple(number[name] for name in test.identity),
            test_pixels=tensor_digest(test.images),
            others=write_faces(store, digest, f"train of {more} others than {len(names)}", others) if more else "",
            other_labels=tuple(number[name] for name in others.identity),
            other_pixels=tensor_digest(others.images) if more else "",
        ),
        tuple(cells),
        tuple(poisoning_scenarios(block)),
        tuple(block.seeds),
        train,
        test,
        more,
    )


def _faces(dataset: Dataset, identities: int | None, others: int | None) -> tuple[FaceSet, FaceSet, FaceSet]:
    """Published and test photos of the first people that have both, and the training photos of ``others`` more."""
    if missing := [role for role in ("train", "test") if role not in dataset.roles()]:
        raise ConfigError(
            f"data set {dataset.name} has no {missing[0]} photos, which poisoning needs: give it a share of test "
            "photos (the embedded world: dataset=synthetic_published)"
        )
    train, test = dataset.faces("train"), dataset.faces("test")
    both = set(test.identity)
    names = [name for name in train.identities() if name in both][:identities]
    if len(names) < 2:
        raise ConfigError(
            f"poisoning needs at least two people with train and test photos, {dataset.name} has {len(names)}"
        )
    kept = set(names)
    more = [name for name in train.identities() if name not in kept][:others]
    if others and len(more) < others:
        raise ConfigError(
            f"poisoning.other_identities is {others}, but {dataset.name} has training photos of {len(more)} people "
            f"beside the {len(names)} protected: lower it or give the data set more people"
        )
    return _photos_of(train, names), _photos_of(test, names), _photos_of(train, more)


def _photos_of(faces: FaceSet, names: Collection[str]) -> FaceSet:
    wanted = set(names)
    return faces.select([row for row, name in enumerate(faces.identity) if name in wanted])


def poisoning_cells(config: DictConfig) -> list[Cell]:
    """Methods of the block at their budgets, after the experiment's controls at every budget that occurs.

    Where the track is the whole experiment, a method chosen on the command line replaces the list, at its own budget.
    """
    block = config.poisoning
    chosen = config.method is not None and not config.targets
    methods: dict[Any, Any] = {config.method_key: config.method} if chosen else dict(block.methods)
    more = {} if chosen else block.more_epsilons_255
    labels = surrogate_labels(config)
    if block.surrogates is not None:
        if missing := [key for key in block.surrogates if key not in labels]:
            raise ConfigError(f"poisoning.surrogates names {missing[0]}, which is not among the surrogates")
        labels = {key: labels[key] for key in block.surrogates}
    if missing := [key for key in more if key not in methods]:
        raise ConfigError(f"poisoning.more_epsilons_255 names {missing[0]}, which is not among poisoning.methods")
    cells: list[Cell] = []
    refuse_idle_poisoning_budgets(config, chosen=chosen)
    for key, method in methods.items():
        axis = poisoning_budgets_of(config, str(key), chosen=chosen) or []
        if key in more:
            axis = axis or [method.epsilon_255]
            axis += [value for value in more[key] if value not in axis]
        cells += cells_of(str(key), method, axis or None, labels, "method" if chosen else f"poisoning.methods.{key}")
    budgets = sorted({cell.epsilon_255 for cell in cells if cell.epsilon_255 == cell.epsilon_255})
    controls = [
        cell
        for key, method in config.controls.items()
        if key not in methods
        for cell in cells_of(str(key), method, budgets or None, labels, f"controls.{key}")
    ]
    return controls + cells


def _chunks(train: FaceSet, people: int, references: int) -> list[Chunk]:
    """The people of the published photos, ``people`` at a time, with the same number of references for each."""
    rows = train.rows_by_identity()
    given = min(references, *(len(own) for own in rows.values()))
    names = list(rows)
    return [
        Chunk(
            number,
            tuple(part),
            tuple(row for name in part for row in rows[name]),
            tuple(tuple(rows[name][:given]) for name in part),
            (),
        )
        for number, start in enumerate(range(0, len(names), people))
        for part in [names[start : start + people]]
    ]


def poisoning_scenarios(block: DictConfig) -> Iterator[Scenario]:
    """What every published set is put through.

    Raises:
        ConfigError: the block lacks something, or names an attacker that it does not have.
    """
    regimes, shares = list(block.regimes), list(block.clean_shares)
    if not block.attackers or not regimes or not shares or not block.seeds:
        raise ConfigError("poisoning needs at least one attacker, regime, clean share and seed")
    varied = list(block.attackers) if block.variants_on is None else list(block.variants_on)
    if missing := [key for key in varied if key not in block.attackers]:
        raise ConfigError(f"poisoning.variants_on names {missing[0]}, which is not among the attackers")
    for attacker in block.attackers:
        yield Scenario(attacker, regimes[0], shares[0])
    for attacker in varied:
        for regime in regimes[1:]:
            yield Scenario(attacker, regime, shares[0])
        for share in shares[1:]:
            yield Scenario(attacker, regimes[0], share)


def _plain(configs: DictConfig) -> dict[str, Any]:
    """Plain configs by key."""
    plain: Any = OmegaConf.to_container(configs, resolve=True)
    return {str(key): config for key, config in plain.items()}

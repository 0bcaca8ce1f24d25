"""From a composed config to a list of cells and units of work, each with a content key.

A *cell* is a method at a budget on a surrogate; a *unit* is a cell applied to one chunk of people. The chunk decides
which images share a forward pass and is therefore part of the plan, never of the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.budgets import budgets_of, refuse_idle_budgets
from cloakbench.bench.config.build import build
from cloakbench.bench.config.given import is_given, is_taken_out
from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import content_key, tensor_digest
from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.datasets.base import FaceSet, Role
from cloakbench.methods.base import TITLE, Protector, without_title
from cloakbench.methods.context import Need

NO_SURROGATE = ""


@dataclass(frozen=True)
class Cell:
    """A method at one budget on one surrogate (or ensemble).

    Attributes:
        method: key of the method in the experiment.
        config: resolved method config with the budget in place.
        epsilon_255: the budget in grey levels, NaN for methods without one.
        surrogate: label of the surrogate or ensemble, empty for methods that use none.
        surrogates: keys of the models behind the label.
        title: how reports print the method; decides nothing and is in no key.
    """

    method: str
    config: Mapping[str, Any]
    epsilon_255: float
    surrogate: str
    surrogates: tuple[str, ...]
    title: str = ""

    @property
    def method_label(self) -> str:
        """Method and budget, as figures print them: ``pgd 8/255``."""
        return self.method + ("" if math.isnan(self.epsilon_255) else f" {self.epsilon_255:g}/255")

    @property
    def label(self) -> str:
        """What logs and progress call the cell."""
        return self.method_label + (f" on {self.surrogate}" if self.surrogate else "")


@dataclass(frozen=True)
class Chunk:
    """People whose photos are protected together, as rows of the probe and reference faces."""

    number: int
    identities: tuple[str, ...]
    probes: tuple[int, ...]
    references: tuple[tuple[int, ...], ...]
    targets: tuple[int, ...]
    """Row in the auxiliary faces of the photo each person is to be mistaken for; empty without auxiliary faces."""


@dataclass(frozen=True)
class Unit:
    """One cell on one chunk: the smallest piece of work that is stored."""

    cell: Cell
    chunk: Chunk
    key: str


def build_cells(config: DictConfig) -> list[Cell]:
    """Every cell of an experiment: controls and methods, at each budget, on each surrogate.

    At which budgets a method runs, `budgets_of` says. Controls run at every budget that some method runs at.
    ``plan.limits`` keeps a costly method to some budgets and surrogates.

    Raises:
        ConfigError: no method was asked for, a method needs a surrogate and there is none, a setting of a method is
            wrong, a limit fits nothing, or a budget on the command line has no effect.
    """
    chosen = _chosen_methods(config)
    if not chosen:
        raise ConfigError("the experiment has no method: choose one with method=NAME (see cloakbench list methods)")
    labels = surrogate_labels(config)

    cells: list[Cell] = []
    limits = read_limits(config)
    without, at_list = [], False
    for key, method in chosen.items():
        limit = limits.get(key, Limit())
        axis = budgets_of(config, key, limit.epsilons_255)
        where = "method" if config.method is not None else f"methods.{key}"
        own = list(cells_of(key, method, axis, limit.surrogates or labels, where))
        without += [key] * math.isnan(own[0].epsilon_255)
        at_list |= axis == list(config.epsilons_255 or ()) and not math.isnan(own[0].epsilon_255)
        cells += own
    refuse_idle_budgets(config, without, at_list)
    budgets = sorted({cell.epsilon_255 for cell in cells if not math.isnan(cell.epsilon_255)})
    controls = [
        cell
        for key, method in config.controls.items()
        if key not in chosen
        for cell in cells_of(key, method, budgets or None, labels, f"controls.{key}")
    ]
    return controls + cells


def _chosen_methods(config: DictConfig) -> dict[str, DictConfig]:
    """The methods of an experiment by key: one chosen with ``method=``, or those of its list."""
    return {config.method_key: config.method} if config.method is not None else dict(config.methods)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Limit:
    """What a costly method is kept to; None and empty mean that nothing is left out.

    Attributes:
        people: the first people of the probes.
        photos: of each of them the first photos.
        epsilons_255: budgets instead of the experiment's.
        surrogates: label to keys of surrogates, instead of the experiment's; several keys are an ensemble.
    """

    people: int | None = None
    photos: int | None = None
    epsilons_255: tuple[float, ...] = ()
    surrogates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_limits(config: DictConfig) -> dict[str, Limit]:
    """``plan.limits`` of the methods that an experiment has, by method.

    What a preset says of methods that were not chosen, or were taken out, does not apply.

    Raises:
        ConfigError: a method or surrogate that the experiment does not have, or an unknown key.
    """
    limits = {}
    methods = {*_chosen_methods(config), *config.controls}
    for method, given in (config.plan.limits or {}).items():
        plain: Any = OmegaConf.to_container(given, resolve=True)
        if unknown := sorted(set(plain) - {item.name for item in fields(Limit)}):
            raise ConfigError(f"plan.limits.{method} has no setting {unknown[0]!r}; see conf/config.yaml")
        if method not in methods:
            left_out = config.method is not None or is_taken_out(config, f"methods.{method}")
            if is_given(config, f"plan.limits.{method}") or not left_out:
                raise ConfigError(f"plan.limits names {method}, which this experiment does not have")
            continue
        surrogates = {label: tuple(keys) for label, keys in (plain.get("surrogates") or {}).items()}
        if strangers := [key for keys in surrogates.values() for key in keys if key not in config.surrogates]:
            raise ConfigError(
                f"plan.limits names {strangers[0]}, which this experiment does not have: set "
                f"plan.limits.{method}.surrogates={{LABEL: [KEY]}}, or null for all surrogates"
            )
        budgets = tuple(plain.get("epsilons_255") or ())
        limits[str(method)] = Limit(plain.get("people"), plain.get("photos"), budgets, surrogates)
    return limits


def surrogate_labels(config: DictConfig) -> dict[str, tuple[str, ...]]:
    """Label to model keys: every surrogate alone, unless the experiment says otherwise, and every ensemble."""
    single = {key: (key,) for key in config.surrogates} if config.single_surrogates else {}
    ensembles = {label: tuple(keys) for label, keys in (config.ensembles or {}).items()}
    for label, keys in ensembles.items():
        if missing := [key for key in keys if key not in config.surrogates]:
            raise ConfigError(f"ensemble {label} names {missing[0]}, which is not among the surrogates")
    return single | ensembles


def cells_of(
    key: str, method: DictConfig, axis: Sequence[float] | None, labels: Mapping[str, tuple[str, ...]], where: str
) -> Iterator[Cell]:
    """The cells of one method: at every budget of ``axis``, or its own, on every surrogate if it uses one.

    ``where`` is the method's place on the command line, for errors.
    """
    plain: dict[str, Any] = OmegaConf.to_container(method, resolve=True)  # type: ignore[assignment]
    title = str(plain.pop(TITLE, None) or key)
    has_budget = plain.get("epsilon_255") is not None  # null: a method that runs without one
    for epsilon_255 in axis if axis and has_budget else [plain["epsilon_255"] if has_budget else math.nan]:
        at_budget = plain | ({"epsilon_255": epsilon_255} if has_budget else {})
        protector = make_protector(at_budget, key, where)
        if Need.SURROGATES not in protector.needs:
            yield Cell(key, at_budget, float(epsilon_255), NO_SURROGATE, (), title)
            continue
        if not labels:
            raise ConfigError(f"{key} needs a surrogate: add one with model@surrogate=NAME")
        for label, keys in labels.items():
            yield Cell(key, at_budget, float(epsilon_255), label, keys, title)


def make_protector(config: Mapping[str, Any], key: str, where: str = "") -> Protector:
    """Build a method.

    Args:
        config: resolved config; a title in it is for reports and left out.
        key: of the method in the experiment.
        where: its place on the command line, for errors; ``methods.KEY`` if left out.

    Raises:
        ConfigError: a setting that is unknown or wrong, in the user's spelling.
    """
    where = where or f"methods.{key}"
    protector = build(without_title(config), where, convert="all")
    if not isinstance(protector, Protector):
        raise ConfigError(f"{where}: {config['_target_']} built a {type(protector).__name__}, not a Protector")
    return protector


def build_chunks(
    probes: FaceSet,
    references: FaceSet | None,
    auxiliary: FaceSet | None,
    *,
    people: int,
    seed: int,
    targets: Mapping[str, str] | None = None,
) -> list[Chunk]:
    """Split the people of the probe faces into chunks of ``people`` in order of first appearance.

    Each person is given somebody of the auxiliary faces who has at least two photos: the first photo is what a targeted
    method may see, the second is what success is measured on. Who that is, ``targets`` says, a data set's own protocol
    (person to auxiliary person); for people it does not name it is drawn from (seed, identity).

    Raises:
        ConfigError: somebody named in ``targets`` has fewer than two auxiliary photos.
    """
    rows_of = probes.rows_by_identity()
    references_of = references.rows_by_identity() if references else {}
    auxiliary_rows = auxiliary.rows_by_identity() if auxiliary else {}
    pairs = [rows for rows in auxiliary_rows.values() if len(rows) > 1]
    fixed = {name: auxiliary_rows.get(target, []) for name, target in (targets or {}).items() if name in rows_of}
    if short := sorted(name for name, rows in fixed.items() if len(rows) < 2):
        target = (targets or {})[short[0]]
        raise ConfigError(
            f"{short[0]} is to be mistaken for {target}, who needs two auxiliary photos, one to aim at and one to "
            f"measure, and has {len(fixed[short[0]])}: raise dataset.auxiliary_per_identity or add photos"
        )

    def aim(name: str) -> int:
        return (fixed.get(name) or pairs[stream_seed(seed, "target", name) % len(pairs)])[0]

    identities = list(rows_of)
    chunks = []
    for number, start in enumerate(range(0, len(identities), people)):
        names = identities[start : start + people]
        chunks.append(
            Chunk(
                number,
                tuple(names),
                tuple(row for name in names for row in rows_of[name]),
                tuple(tuple(references_of.get(name, ())) for name in names),
                tuple(aim(name) for name in names) if pairs else (),
            )
        )
    return chunks


def narrow(chunks: Sequence[Chunk], probes: FaceSet, limit: Limit) -> list[Chunk]:
    """The part of a plan that a costly method works on.

    What a method is not run on is not planned, and stands in no rate of it; the other photos of the
    people stay in the gallery.
    """
    narrowed = []
    left = sum(len(chunk.identities) for chunk in chunks) if limit.people is None else limit.people
    for chunk in chunks:
        names = chunk.identities[:left]
        left -= len(names)
        rows: dict[str, list[int]] = {name: [] for name in names}
        for row in chunk.probes:
            of_person = rows.get(probes.identity[row])
            if of_person is not None and (limit.photos is None or len(of_person) < limit.photos):
                of_person.append(row)
        if names:
            kept = tuple(row for of_person in rows.values() for row in of_person)
            count = len(names)
            narrowed.append(Chunk(chunk.number, names, kept, chunk.references[:count], chunk.targets[:count]))
    return narrowed


def measured_target_rows(auxiliary: FaceSet, chunks: Sequence[Chunk]) -> dict[str, int]:
    """For each person the row of the target photo that success is measured on: the one after the photo given away."""
    rows_of = auxiliary.rows_by_identity()
    return {
        name: rows_of[auxiliary.identity[row]][1]
        for chunk in chunks
        for name, row in zip(chunk.identities, chunk.targets, strict=bool(chunk.targets))
    }


def unit_key(
    cell: Cell,
    chunk: Chunk,
    faces: Mapping[Role, FaceSet],
    digests: Mapping[Role, Sequence[str]],
    fingerprints: Mapping[str, str],
    auxiliary_digest: str,
    seed: int,
) -> tuple[str, dict[str, Any]]:
    """Key and inputs of a unit: the method and its code, the surrogates, and the photos of the chunk."""
    protector = make_protector(cell.config, cell.method)
    sees_references = Need.REFERENCES in protector.needs
    inputs: dict[str, Any] = {
        "method": node_settings(cell.config),
        "code": node_code(cell.config, base=("cloakbench.methods.base", type(protector).__module__)),
        "surrogates": [fingerprints[key] for key in cell.surrogates],
        "seed": seed,
        "people": list(chunk.identities),
        "probes": [(faces["probe"].image_id[row], digests["probe"][row]) for row in chunk.probes],
        "references": [[digests["reference"][row] for row in rows] for rows in chunk.references]
        if sees_references
        else [],
        "targets": [digests["auxiliary"][row] for row in chunk.targets] if Need.AIM in protector.needs else [],
        "files": dict(protector.files_read([faces["probe"].image_id[row] for row in chunk.probes])),
        "auxiliary": auxiliary_digest if Need.AUXILIARY in protector.needs else "",
        "landmarks": _landmarks_digest(faces["probe"], chunk.probes) if Need.LANDMARKS in protector.needs else "",
    }
    return content_key("protected", inputs), inputs


def _landmarks_digest(faces: FaceSet, rows: Sequence[int]) -> str:
    return "" if faces.landmarks is None else tensor_digest(faces.landmarks[list(rows)])

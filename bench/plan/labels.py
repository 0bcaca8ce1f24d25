"""`SurrogateLabels`: under which labels the methods of an experiment attack which of its networks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from omegaconf import DictConfig

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.plan.networks import attribute_labels
from cloakbench.methods.context import Need

Labels = Mapping[str, tuple[str, ...]]
"""Label to keys of networks; several keys are an ensemble."""


@dataclass(frozen=True)
class SurrogateLabels:
    """Labels by kind of network.

    Attributes:
        recognisers: every surrogate alone, unless the experiment says otherwise, and every ensemble.
        attributes: the same of attribute networks.
    """

    recognisers: Labels
    attributes: Labels

    @classmethod
    def of(cls, config: DictConfig) -> SurrogateLabels:
        """Those of an experiment.

        Raises:
            ConfigError: an ensemble names a network that is no surrogate, or networks of two kinds.
        """
        recognisers = {str(key): (str(key),) for key in config.surrogates}
        attributes = attribute_labels(config)
        single = config.single_surrogates
        together: dict[bool, dict[str, tuple[str, ...]]] = {True: {}, False: {}}
        for label, given in (config.ensembles or {}).items():
            keys = tuple(given)
            if missing := [key for key in keys if key not in recognisers and key not in attributes]:
                raise ConfigError(f"ensemble {label} names {missing[0]}, which is not among the surrogates")
            if len({key in recognisers for key in keys}) > 1:
                raise ConfigError(f"ensemble {label} names recognisers and attribute networks: make one of each")
            together[keys[0] in recognisers][str(label)] = keys
        return cls((recognisers if single else {}) | together[True], (attributes if single else {}) | together[False])

    def only(self, wanted: Collection[str] | None, place: str) -> SurrogateLabels:
        """The labels of a block that names some; all where it names none.

        Raises:
            ConfigError: it names one that there is not.
        """
        if wanted is None:
            return self
        if missing := [key for key in wanted if key not in self.recognisers and key not in self.attributes]:
            raise ConfigError(f"{place}surrogates names {missing[0]}, which is not among the surrogates")
        return SurrogateLabels(_some(self.recognisers, wanted), _some(self.attributes, wanted))

    def met(self, needs: Collection[Need], method: str) -> Labels:
        """What a method with these needs attacks; of each pair one where it needs both kinds, empty for neither.

        Raises:
            ConfigError: there is no network of a kind that it needs.
        """
        recogniser, attribute = Need.SURROGATES in needs, Need.ATTRIBUTE_SURROGATES in needs
        if recogniser and not self.recognisers:
            raise ConfigError(f"{method} needs a surrogate: add one with model@surrogate=NAME")
        if attribute and not self.attributes:
            raise ConfigError(
                f"{method} needs an attribute surrogate: add one with +attribute_model@attribute_surrogates.KEY=NAME"
            )
        if recogniser and attribute:
            return {
                f"{one}_with_{other}": (*keys, *others)
                for one, keys in self.attributes.items()
                for other, others in self.recognisers.items()
            }
        return self.recognisers if recogniser else self.attributes if attribute else {}


def _some(labels: Labels, wanted: Collection[str]) -> Labels:
    return {key: labels[key] for key in wanted if key in labels}

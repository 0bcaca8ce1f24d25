"""`FaceMatcher`: a recogniser that belongs to a method's settings, which says whether a face still is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.methods.context import CountedNetwork, ProtectContext
from cloakbench.models.base import Recogniser


class FaceMatcher:
    """A frozen recogniser of the method's own: no surrogate of an experiment that asks about attributes.

    Args:
        model: builds the recogniser; called when it is needed.
    """

    def __init__(self, model: Callable[[], Recogniser]) -> None:
        self._model = model

    def fingerprint(self) -> str:
        """Digest of what decides its embeddings: weights, input rule and code of the network."""
        model = self._model()
        code = code_digest(__name__, type(model.network).__module__)
        return hashlib.sha256(f"{model.card.weights_sha256} {model.inputs} {code}".encode()).hexdigest()

    def load(self, context: ProtectContext) -> CountedNetwork:
        """The recogniser on the device of a call, behind its counter."""
        return context.counted(self._model().to(context.device))

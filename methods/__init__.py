"""Protection methods, and what the author of one needs."""

from cloakbench.methods.base import Budget, Protected, Protector, Stage, Trained
from cloakbench.methods.context import MissingNeedError, Need, NetworkKind, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch

__all__ = [
    "Budget",
    "MissingNeedError",
    "Need",
    "NetworkKind",
    "PhotoBatch",
    "ProtectContext",
    "Protected",
    "Protector",
    "Stage",
    "Trained",
]

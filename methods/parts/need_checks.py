"""Check of what methods declare: each works without what it does not declare, and says so where a need is absent."""

from __future__ import annotations

from cloakbench.methods.base import Protector
from cloakbench.methods.context import MissingNeedError, Need
from cloakbench.methods.parts.tiny_world import context_without, photos_without, tiny_photos, trained_context


def check_needs(protector: Protector) -> str:
    """A method raises `MissingNeedError` without any one of its declared needs, and runs without all others."""
    if unknown := sorted(need for need in protector.needs if not isinstance(need, Need)):
        raise AssertionError(f"needs are members of Need, got {unknown}")
    undeclared = [need for need in Need if need not in protector.needs]
    if not _runs_without(protector, *undeclared):  # all at once, and one by one only to say which
        lacking = [need for need in undeclared if not _runs_without(protector, need)]
        raise AssertionError(f"{', '.join(lacking or undeclared)} is not declared")
    for need in sorted(protector.needs):
        if _runs_without(protector, need):
            raise AssertionError(f"runs without its declared need {need}")
    return ", ".join(sorted(protector.needs)) or "none"


def _runs_without(protector: Protector, *needs: Need) -> bool:
    photos, context = tiny_photos(), trained_context(protector)
    for need in needs:
        photos, context = photos_without(need, photos), context_without(need, context)
    try:
        protector.protect(photos, context)
    except MissingNeedError:
        return False
    return True

"""Named numbers that describe steps and trajectories of fields."""

from typing import TYPE_CHECKING

from xphys._lazy import attach

if TYPE_CHECKING:
    from xphys.features._api import features as features
    from xphys.features._catalog import registry as registry
    from xphys.features._registry import DEFINITION_VERSION as DEFINITION_VERSION
    from xphys.features._registry import Feature as Feature
    from xphys.features._registry import Registry as Registry

__all__ = ["DEFINITION_VERSION", "Feature", "Registry", "features", "registry"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "DEFINITION_VERSION": "._registry",
        "Feature": "._registry",
        "Registry": "._registry",
        "features": "._api",
        "registry": "._catalog",
    },
)

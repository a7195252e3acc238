"""The register of features: names, numbers, families and definitions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from xphys.errors import FormatError, UnknownNameError

__all__ = ["DEFINITION_VERSION", "Feature", "Registry"]

#: Changes with every change of a definition.
DEFINITION_VERSION = "xphys-1"
_FORMAT = 1


@dataclass(frozen=True)
class Feature:
    """What one column means.

    Attributes
    ----------
    name : str
        Name of the column.
    number : int
        Running number, 1 to 153 for the standard set, beyond for optional families.
    index : int
        Place in the register, which is ordered in another way than the columns.
    family : str
        Family, also called category.
    level : {"step", "trajectory"}
        Whether there is a value for each time or for each trajectory.
    definition : str
        Formula in words and symbols.
    change : str
        How it differs from the feature of this name in Spinlock; empty if it does not.
    undefined : str
        Where it is NaN.
    steps, channels : int
        Least numbers of times and channels.
    dimensions : int
        Least number of axes of space.
    axes : tuple of str
        Axes that the field must have.
    plane : bool
        Whether it needs exactly two axes.
    uniform : bool
        Whether the axes of space must be uniform.
    uniform_time : bool
        Whether the times must be uniform.
    standard : bool
        Whether it belongs to the 153.
    """

    name: str
    number: int
    index: int
    family: str
    level: str
    definition: str
    change: str = ""
    undefined: str = ""
    steps: int = 1
    channels: int = 1
    dimensions: int = 1
    axes: tuple[str, ...] = ()
    plane: bool = False
    uniform: bool = False
    uniform_time: bool = False
    standard: bool = True

    @property
    def category(self) -> str:
        """Family, by the word of Spinlock."""
        return self.family


class Registry(Mapping[str, Feature]):
    """Features by name; iterates in the order of their numbers.

    Parameters
    ----------
    features : iterable of Feature
        Names, numbers and indices must each be there once.

    Examples
    --------
    >>> found = Registry([Feature("a", 1, 0, "spatial", "step", "mean")])
    >>> found["a"].number, found.by_index(0).name, found.names(category="spatial")
    (1, 'a', ['a'])
    >>> Registry.from_json(found.to_json()) == found
    True
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        ordered = sorted(features, key=lambda feature: feature.number)
        self._by_name = {feature.name: feature for feature in ordered}
        self._by_number = {feature.number: feature for feature in ordered}
        self._by_index = {feature.index: feature for feature in ordered}
        for kind in (self._by_name, self._by_number, self._by_index):
            if len(kind) != len(ordered):
                raise FormatError("expected each name, number and index of a feature once")

    def __getitem__(self, name: str) -> Feature:
        try:
            return self._by_name[name]
        except (KeyError, TypeError):
            near = [known for known in self._by_name if str(name).lower() in known.lower()][:5]
            hint = f"like {near}" if near else "from xphys.features.registry().names()"
            raise UnknownNameError(f"expected the name of a feature {hint}, got {name!r}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registry) and self._by_name == other._by_name

    def __hash__(self) -> int:
        return hash(tuple(self._by_name.values()))

    def __repr__(self) -> str:
        return f"<Registry of {len(self)} features in {len(self.families)} families>"

    @property
    def families(self) -> list[str]:
        """Names of the families, in the order of their first number."""
        return list(dict.fromkeys(feature.family for feature in self._by_name.values()))

    def by_number(self, number: int) -> Feature:
        """Look up a feature by its running number."""
        return self._looked_up(self._by_number, number, "number")

    def by_index(self, index: int) -> Feature:
        """Look up a feature by its place in the register."""
        return self._looked_up(self._by_index, index, "index")

    @staticmethod
    def _looked_up(table: Mapping[int, Feature], key: int, word: str) -> Feature:
        if key not in table:
            raise UnknownNameError(
                f"expected the {word} of a feature from {min(table, default=0)} to "
                f"{max(table, default=0)}, got {key!r}"
            )
        return table[key]

    def select(
        self,
        *,
        family: str | None = None,
        category: str | None = None,
        level: str | None = None,
        standard: bool | None = None,
    ) -> list[Feature]:
        """List the features that fit, in the order of their numbers."""
        for word in (family, category):
            if word is not None and word not in self.families:
                raise UnknownNameError(f"expected a family out of {self.families}, got {word!r}")
        return [
            feature
            for feature in self._by_name.values()
            if (family is None or feature.family == family)
            and (category is None or feature.category == category)
            and (level is None or feature.level == level)
            and (standard is None or feature.standard == standard)
        ]

    def names(self, *, family: str | None = None, category: str | None = None) -> list[str]:
        """Names, of one family or of all."""
        return [feature.name for feature in self.select(family=family, category=category)]

    def to_json(self) -> str:
        """Write the register as JSON, by category and name."""
        nested: dict[str, dict[str, Any]] = {}
        for feature in self._by_name.values():
            entry = asdict(feature)
            nested.setdefault(entry.pop("family"), {})[entry.pop("name")] = entry
        document = {
            "xphys_features": _FORMAT,
            "definition_version": DEFINITION_VERSION,
            "features": nested,
        }
        return json.dumps(document, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Registry:
        """Read what `to_json` has written."""
        known = {field.name for field in fields(Feature)} - {"name", "family"}
        try:
            document = json.loads(text)
            if document["xphys_features"] != _FORMAT:
                raise FormatError(f"expected a register of features of version {_FORMAT}")
            found = []
            for family, entries in document["features"].items():
                for name, entry in entries.items():
                    if not known >= set(entry):
                        raise FormatError(f"expected keys out of {sorted(known)} for {name!r}")
                    entry["axes"] = tuple(entry.get("axes", ()))
                    if type(entry["number"]) is not int or type(entry["index"]) is not int:
                        raise FormatError(f"expected whole numbers for {name!r}")
                    found.append(Feature(name=name, family=family, **entry))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"cannot be read as a register of features: {error}") from error
        return cls(found)

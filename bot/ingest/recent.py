"""The last so many keys of a stream, each with what is known about it."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


@dataclass(slots=True)
class Recent(Generic[_Value]):
    """Holds ``size`` keys; what was put longest ago goes first."""

    size: int
    _values: OrderedDict[str, _Value] = field(default_factory=OrderedDict)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str) -> _Value | None:
        return self._values.get(key)

    def put(self, key: str, value: _Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self.size:
            self._values.popitem(last=False)

    def pop(self, key: str) -> _Value | None:
        return self._values.pop(key, None)

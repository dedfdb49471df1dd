"""What an API calls the fields of the contract, for errors that name them."""

from __future__ import annotations

from collections.abc import Mapping


class FieldNames:
    """Turns paths of the contract into an API's own.

    `FieldNames({"spec.schedule.cron": "schedule"})`: the longest known beginning of a path is replaced and the rest
    kept, so an entry of a map keeps its key. Lists that have one element in the API are named with it, `spec.tasks[0]`.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        """Take the API's name of each path of the contract."""
        self._names = sorted(names.items(), key=lambda item: len(item[0]), reverse=True)

    def rename(self, path: str) -> str:
        """Return the path in the API; one that is not known stays as it is."""
        for known, name in self._names:
            rest = path[len(known) :]
            if path.startswith(known) and rest[:1] in {"", ".", "["}:
                return (name + rest).removeprefix(".")
        return path

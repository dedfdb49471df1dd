"""Identifiers as the documented APIs show them: a prefix of the API's own and a UUID.

What does not look like one names nothing: 404, as for an id that nothing has.
"""

from __future__ import annotations

from dataclasses import dataclass

from foliot.kit.ids import format_uuid, parse_uuid
from foliot_gateway.http.fault import Fault, FaultError


@dataclass(frozen=True, slots=True, kw_only=True)
class IdKind:
    """How the ids of one kind of thing look: `IdKind(prefix="job-", noun="job")`."""

    prefix: str
    """Stands before the UUID; empty for bare UUIDs."""
    noun: str
    """What the ids name, in words."""

    def shown(self, uuid: str) -> str:
        """Return the id of what has this UUID."""
        return self.prefix + uuid

    def find_uuid(self, shown: str) -> str | None:
        """Return the UUID in an id, None for what is no id of this kind."""
        bare = shown.removeprefix(self.prefix)
        try:
            # An id has one spelling: one that is written otherwise is another, and names nothing.
            if self.prefix + bare == shown and format_uuid(parse_uuid(bare)) == bare:
                return bare
        except ValueError:
            pass
        return None

    def uuid(self, shown: str) -> str:
        """Return the UUID in an id; raises FaultError 404 for what is no id of this kind."""
        found = self.find_uuid(shown)
        if found is None:
            raise FaultError(self.not_found())
        return found

    def not_found(self) -> Fault:
        """Return the fault of an id that names nothing."""
        return Fault(status=404, code="not_found", detail=f"No {self.noun} has this id.")

"""What every call of a DICOM sender is: something to do on an association, in a thread, that may be done again."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Sequence

from pynetdicom.presentation import PresentationContext

from adapters.dicom.client import NoService, Target, context_for, no_context
from adapters.dicom.network import HubAssociation
from hub.api import Reply

__all__ = ["EXPLICIT", "IMPLICIT", "MEDIUM", "UNCOMPRESSED", "Call", "Context"]

#: (SOP class, transfer syntaxes)
Context = tuple[str, tuple[str, ...]]

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
UNCOMPRESSED = (EXPLICIT, IMPLICIT)
#: Priority of a request.
MEDIUM = 0


class Call(NoService):
    """One call. ``contexts``: (SOP class, transfer syntaxes) to propose; those it can use itself first, the best at the top."""

    contexts: Sequence[Context] = ()
    as_provider: Sequence[str] = ()

    @abstractmethod
    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        """Make it, by ``deadline`` (``time.monotonic``). ``again``: it was tried before, with unknown outcome.

        Raises :class:`Lost` when the association ends, and :class:`~hub.api.SendError`.
        """

    def close(self) -> None:
        """Let go of what it holds."""

    def _context(self, association: HubAssociation, target: Target) -> PresentationContext:
        sop_class = self.contexts[0][0]
        for one, syntaxes in self.contexts:
            found = context_for(association, one, syntaxes) if one == sop_class else None
            if found is not None:
                return found
        raise no_context(target, f"{sop_class}, {self.contexts[0][1][0]}")

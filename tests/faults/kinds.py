"""The kinds of faults: how acts fail, and which."""

import errno
from dataclasses import dataclass

from tests.faults.plan import ACTS

_SPACE = "open", "write", "fsync", "rename", "mkdir"


@dataclass(frozen=True)
class Kind:
    """How an act fails: in which mode of the shim, and with which error; `acts` are those that can."""

    name: str
    mode: str
    error: int
    acts: tuple[str, ...]


KINDS = (
    Kind("disk full once", "once", errno.ENOSPC, _SPACE),
    Kind("disk full from then on", "from on", errno.ENOSPC, ("open", "write", "mkdir")),
    Kind("quota used up", "from on", errno.EDQUOT, ("open", "write", "fsync", "mkdir")),
    Kind("input/output error", "once", errno.EIO, ACTS),
    Kind("half a write, then full", "half", errno.ENOSPC, ("write",)),
    Kind("too many open files", "once", errno.EMFILE, ("open",)),
    Kind("folder removed", "gone", 0, ("open", "write", "mkdir")),
    Kind("killed", "kill", 0, ACTS),
    Kind("killed in a write", "half, kill", 0, ("write",)),
)

"""Git: a bare mirror of the tracked branch, and the way back to it. Revisions are full commit ids."""

from reconciler.git.commit import Identity
from reconciler.git.errors import PushRefused, PushRejected
from reconciler.git.history import Commit
from reconciler.git.lease import ABSENT, Move, Register
from reconciler.git.local import Local
from reconciler.git.mirror import Mirror
from reconciler.git.objects import Entry
from reconciler.git.remote import Remote
from reconciler.git.signatures import Arrival, Signers, prepare_gpg
from reconciler.git.watch import Watcher

__all__ = [
    "ABSENT",
    "Arrival",
    "Commit",
    "Entry",
    "Identity",
    "Local",
    "Mirror",
    "Move",
    "PushRefused",
    "PushRejected",
    "Register",
    "Remote",
    "Signers",
    "Watcher",
    "prepare_gpg",
]

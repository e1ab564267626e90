"""Git: a bare mirror of the tracked branch, and the way back to it. Revisions are full commit ids."""

from reconciler.git.aside import Aside
from reconciler.git.commit import Identity
from reconciler.git.errors import PushRefused, PushRejected
from reconciler.git.history import Commit
from reconciler.git.lease import GitRegister
from reconciler.git.local import Local
from reconciler.git.mirror import Mirror
from reconciler.git.objects import Entry
from reconciler.git.remote import Remote
from reconciler.git.signatures import Arrival, Signers, prepare_gpg
from reconciler.git.watch import Watcher

__all__ = [
    "Arrival",
    "Aside",
    "Commit",
    "Entry",
    "GitRegister",
    "Identity",
    "Local",
    "Mirror",
    "PushRefused",
    "PushRejected",
    "Remote",
    "Signers",
    "Watcher",
    "prepare_gpg",
]

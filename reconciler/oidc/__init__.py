"""An OpenID provider: what it says of itself, whom its tokens vouch for, and how people sign in at it."""

from reconciler.oidc.issuer import Issuer
from reconciler.oidc.issuers import Issuers
from reconciler.oidc.signin import Pending, end_at, exchanged, leave_for
from reconciler.oidc.tokens import Invalid

__all__ = ["Invalid", "Issuer", "Issuers", "Pending", "end_at", "exchanged", "leave_for"]

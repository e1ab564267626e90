"""Where pull requests are: GitHub, GitLab, Gitea and Forgejo. Plain Git needs none of them."""

from reconciler.forge.base import (
    Annotation,
    Check,
    Comment,
    Denied,
    Draft,
    Forge,
    Invalid,
    Pull,
    State,
    Status,
    Token,
    Unavailable,
)
from reconciler.model.reviews import Review

__all__ = [
    "Annotation",
    "Check",
    "Comment",
    "Denied",
    "Draft",
    "Forge",
    "Invalid",
    "Pull",
    "Review",
    "State",
    "Status",
    "Token",
    "Unavailable",
]

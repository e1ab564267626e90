"""Where pull requests are: GitHub, GitLab, Gitea and Forgejo. Plain Git needs none of them."""

from reconciler.forge.base import (
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

__all__ = [
    "Comment",
    "Denied",
    "Draft",
    "Forge",
    "Invalid",
    "Pull",
    "State",
    "Status",
    "Token",
    "Unavailable",
]

"""The pages of the leaderboard, for the server and for an export."""

from .links import Links, ServerLinks, StaticLinks
from .render import Pages

__all__ = ["Links", "Pages", "ServerLinks", "StaticLinks"]

"""The leaderboard as a web server."""

from .app import Settings, create_app

__all__ = ["Settings", "create_app"]

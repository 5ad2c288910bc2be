"""Verification of submissions, in tiers; see `verify`."""

from .report import Report
from .run import verify

__all__ = ["Report", "verify"]

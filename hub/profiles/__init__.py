"""Profiles: parts of a contract that many plugins share. User's view: ``docs/profiles.md``."""

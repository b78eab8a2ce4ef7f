"""Codecs: bytes ⇄ tree."""

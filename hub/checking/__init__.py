"""Where checks run: before the commit, after it, before sending; the validators themselves are in ``hub.validators`` and ``hub.quality``.

Nothing in here is imported while no interface asks for checks.
"""

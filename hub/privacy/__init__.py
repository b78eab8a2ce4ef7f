"""Personal data: its classes and where they stand, masks, pseudonyms, and whole messages as people may see them.

The classes are declared once, in ``classes.yaml`` beside this file; a site's ``privacy.yaml`` is laid over it. Requirements R-143, R-SEC-20:
002:676, 002:744, 004:9112, 004:11191.
"""

from hub.privacy.load import load_policy, policy_of
from hub.privacy.message import Shown, mask_message, rewrite_message, show_message
from hub.privacy.model import Act, PersonalClass, Policy, View
from hub.privacy.pseudonyms import Pseudonyms

__all__ = [
    "Act",
    "PersonalClass",
    "Policy",
    "Pseudonyms",
    "Shown",
    "View",
    "load_policy",
    "mask_message",
    "policy_of",
    "rewrite_message",
    "show_message",
]

"""Find personal data and secrets in texts, mask them, and prove that published texts hold none of them."""

from tinsmith.model.private.find import find_private
from tinsmith.model.private.item import PrivateItem, described

__all__ = ["PrivateItem", "described", "find_private"]

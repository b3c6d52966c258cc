"""SQLAlchemy (extra `donjon[sqlalchemy]`): invalidation that follows commits, and mapped instances as values.

invalidation = Invalidation(cache)
invalidation.on(Document, keys=["document:{id}"], patterns=["documents:list*"])
invalidation.listen(session_factory)        # from now on every commit of its sessions tells the cache
"""

from ._columns import loaded_columns
from ._invalidation import Invalidation

__all__ = ["Invalidation", "loaded_columns"]

"""What people do with code tables before and after they go live: look, check, compare versions, import."""

from hub.terminology.catalogue import Catalogue
from hub.terminology.compare import Comparison, compare
from hub.terminology.importing import Imported, import_table

__all__ = ["Catalogue", "Comparison", "Imported", "compare", "import_table"]

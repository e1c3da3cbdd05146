"""Sources: each yields (cursor, Post | Deletion | Gap)."""

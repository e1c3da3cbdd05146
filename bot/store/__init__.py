"""SQLite; the only importer of sqlite_utils."""

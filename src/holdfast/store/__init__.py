"""State: tables, queries and migrations."""

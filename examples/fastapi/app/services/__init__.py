"""What the application does, one module a subject. Knows the database and the cache, never HTTP."""

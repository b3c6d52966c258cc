"""What every part of the application stands on: settings, database, cache, the admin token."""

"""What the gateway waits for: HTTP, PostgreSQL, files and the clock. Nothing here decides."""

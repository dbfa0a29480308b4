"""Features of catalogue sources: definitions and computation."""

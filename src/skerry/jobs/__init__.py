"""Long work with an id, progress and cancel."""

"""The view that follows the log and keeps each space searchable."""

"""The seam of content-addressed bytes."""

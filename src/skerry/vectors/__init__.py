"""The seam of vector indexes."""

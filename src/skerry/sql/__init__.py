"""The seam of the database."""

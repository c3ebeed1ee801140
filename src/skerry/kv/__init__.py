"""The seam of key-value stores."""

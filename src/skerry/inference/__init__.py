"""The seam of engines that run models."""

"""The small Florence-2 checkpoint that ships with the package."""

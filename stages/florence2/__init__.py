"""The Florence-2 stage."""

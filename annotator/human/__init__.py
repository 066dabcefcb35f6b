"""Labels from and to people."""

"""The synthetic world with exact truth."""

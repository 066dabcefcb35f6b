"""The Florence-2 stage: its options here, and the model's room behind them, imported when opened."""

from stages.florence2.stage import Florence2

__all__ = ["Florence2"]

"""The Florence-2 stage: its options; the model's room behind them is imported when opened."""

from stages.florence2.stage import Florence2

__all__ = ["Florence2"]

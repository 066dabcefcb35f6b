"""How good labels are: against the truth of unseen scenes, and against what people drew."""

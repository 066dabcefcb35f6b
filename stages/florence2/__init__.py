"""The Florence-2 stage in `stage`; the model's room behind it is imported when it is opened."""

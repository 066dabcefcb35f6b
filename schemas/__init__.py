"""What the data is: samples, tables, boxes and ids. Imports nothing of ours."""

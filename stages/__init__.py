"""What happens to a shard: one file per stage, named as in the YAML; `catalogue` lists them.

Nothing is imported here, so that the Florence-2 engine runs where there is only torch.
"""

WORKER = "ANNOTATOR_WORKER"
"""Environment variable: which worker of its machine this process is, from 0. They take its GPUs in
turn."""

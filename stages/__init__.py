"""What happens to a shard: one file per stage, named as in the YAML."""

"""The annotator: shards in, versioned tables of labels you can trust out."""

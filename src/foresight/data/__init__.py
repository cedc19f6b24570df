"""From sources to batches: documents, tokenizer, shards, packing."""

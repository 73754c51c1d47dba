"""The page of `cootmart retrieve --report`: scores, what queries find, and a map of the embeddings."""

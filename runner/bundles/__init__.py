"""From a digest to verified bytes: the object store, signature statements, archives, the node's disk. Driver: aiobotocore."""

"""An application that keeps documents, and answers from a cache that is never stale."""

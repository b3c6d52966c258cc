"""What happens around a change: commit first, then tell the cache."""

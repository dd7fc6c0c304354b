"""Many copies of small molecules at full-atom resolution, run together."""

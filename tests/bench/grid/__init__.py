"""The grid: each adapter by itself, each way, several sizes, one and eight at once, against other clients."""

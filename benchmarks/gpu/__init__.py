"""All that waits for a GPU, by one command: python -m benchmarks.gpu"""

"""Runs CUDA kernels on the CPU: the same .cu text, a thread a fiber, every access checked."""

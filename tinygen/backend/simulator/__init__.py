"""Runs CUDA kernels on the CPU: the same .cu text, every CUDA thread a fiber, every access checked."""

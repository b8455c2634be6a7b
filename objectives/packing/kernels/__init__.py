"""Kernels: each as a Triton file for GPUs and a plain twin with the same names, arguments and results."""

"""Build of the optional compiled kernel; everything else is in pyproject.toml.

Without a C++ compiler the installation goes on without the kernel, and OpenMM does its work, one replica at a time.
"""

from setuptools import Extension, setup

setup(
    options={"bdist_wheel": {"py_limited_api": "cp311"}},  # the library knows nothing of Python: one wheel for all
    ext_modules=[
        Extension(
            "latentmd.replicas._kernel",  # a shared library for ctypes, no Python module
            sources=["latentmd/replicas/kernel/kernel.cpp"],
            depends=["latentmd/replicas/kernel/lanes.inc"],
            language="c++",
            optional=True,
            py_limited_api=True,
            # Each lane is computed by itself, so that reordering sums gains nothing, and rounding by adding and taking
            # away a large number must stay as it is.
            extra_compile_args=[
                "-std=c++17",
                "-O3",
                "-ffast-math",
                "-fno-associative-math",
                "-fno-trapping-math",
                "-fopenmp-simd",
            ],
            extra_link_args=["-pthread"],
        )
    ],
)

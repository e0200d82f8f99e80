"""Puts configs/ into the wheel, as rdd_jax/configs, for `rdd-jax --config=METHOD`. All else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["rdd_jax*"]), "rdd_jax.configs"], package_dir={"rdd_jax.configs": "configs"})

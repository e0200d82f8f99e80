"""Compares methods over seeds: trains a grid of runs, tests the differences, and writes a report."""

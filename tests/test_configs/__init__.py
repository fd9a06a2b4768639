"""Tests of the configs, paper by paper."""

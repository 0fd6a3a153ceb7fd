"""What the DAG is made of: the GPU step's operator and its process, light steps, the form, the deadline."""

from __future__ import annotations

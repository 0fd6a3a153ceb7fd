"""The pictures of a run, and the pages that show them; they need no network to look at.

training   RMSE against training time, the comparison of the networks
scores     final RMSE with intervals, and where each network errs
data       what the ratings look like
page       the pages: report.html and comparison.html
"""

from __future__ import annotations

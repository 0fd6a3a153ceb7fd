"""The pages of a run: report.html, which has everything, and comparison.html, which has the race.

A page is one file that needs no network: style, script, plots and Bokeh itself are inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mftasks.plots import data, scores, style, training, words

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from mftasks.plots.style import Network
    from mftasks.records import Report


def render_report(run: Report) -> bytes:
    """Return report.html: the answer first, then how it came about, the networks and the data."""
    networks, profile = style.list_networks(run), run.profile
    seen = "ratings of the user in the train part"
    plots = {
        **_compare(networks),
        "residuals": scores.draw_residuals(networks),
        "by_rating": scores.draw_groups(networks, "the rating", lambda one: one.by_rating),
        "by_activity": scores.draw_groups(networks, seen, lambda one: one.by_activity),
        "ratings": data.draw_ratings(profile),
        "users": data.draw_activity(profile.ratings_per_user, "users"),
        "items": data.draw_activity(profile.ratings_per_item, "items"),
    }
    if profile.ratings_per_month:
        plots["months"] = data.draw_months(profile)
    return _render("report.html", run, networks, plots)


def render_comparison(run: Report) -> bytes:
    """Return comparison.html: RMSE against training time, final RMSE, and every epoch's figures."""
    networks = style.list_networks(run)
    return _render("comparison.html", run, networks, _compare(networks))


def _compare(networks: list[Network]) -> dict[str, figure]:
    return {"training": training.draw_comparison(networks), "final": scores.draw_final(networks)}


def _render(template: str, run: Report, networks: list[Network], plots: dict[str, figure]) -> bytes:
    script, parts = components({**plots})
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FILTERS)
    validated = all(network.valid_rmse is not None for network in networks)
    best = next(network.evaluation for network in networks if network.name == run.best)
    ranked = sorted(networks, key=_rank)
    text = environment.get_template(template).render(
        run=run,
        networks=ranked,
        best=best,
        headline=words.write_headline(best, run.evaluations),
        summary=words.write_summary(best, run.evaluations, run.profile.dataset.name),
        in_words=", ".join(f"{one.name} {one.evaluation.rmse:.4f}" for one in ranked),
        split_in_words=words.describe_split(run.split),
        warnings=words.list_warnings(run),
        chosen=words.explain_choice(best, validated),
        validated=validated,
        plots={name: Markup(part) for name, part in parts.items()},
        library=Markup(Resources(mode="inline", components=["bokeh"]).render_js()),
        script=Markup(script),
        style=style,
    )
    return text.encode()


def _rank(network: Network) -> float:
    """Return the figure that the best network was chosen by."""
    return network.evaluation.rmse if network.valid_rmse is None else network.valid_rmse

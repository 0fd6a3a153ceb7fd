// Plots are drawn for a light page: repaint them when the reader's scheme is dark.
(() => {
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const names = {
    "{{ style.INK }}": "--ink",
    "{{ style.FAINT }}": "--faint",
    "{{ style.PAPER }}": "--paper",
{% for colour in style.COLOURS %}
    "{{ colour }}": "--colour-{{ loop.index0 }}",
{% endfor %}
  };
  let painted = null;

  function find() {
    const found = [];
    for (const document of Bokeh.documents) {
      for (const model of document.all_models) {
        for (const property of Object.values(model.properties)) {
          if (property.is_unset) continue;
          const value = property.get_value();
          const colour = value?.value ?? value;
          if (typeof colour === "string" && colour in names) {
            found.push([model, property.attr, names[colour], value !== colour]);
          }
        }
      }
    }
    return found;
  }

  function paint() {
    painted ??= find();
    const style = getComputedStyle(document.documentElement);
    for (const [model, attribute, name, nested] of painted) {
      const colour = style.getPropertyValue(name).trim();
      model.setv({ [attribute]: nested ? { value: colour } : colour });
    }
  }

  // A legend takes as many columns as its plot has room for.
  function fit() {
    for (const document of Bokeh.documents) {
      for (const plot of document.roots()) {
        for (const legend of plot.above.filter((part) => part.type === "Legend")) {
          const longest = Math.max(...legend.items.map((item) => item.label.value.length));
          const columns = Math.floor((plot.inner_width + 30) / (longest * 6.6 + 36));
          legend.ncols = Math.max(1, Math.min(columns, legend.items.length));
        }
      }
    }
  }

  function start() {
    const ready = window.Bokeh?.documents.length > 0;
    if (!ready) return requestAnimationFrame(start);
    if (scheme.matches) paint();
    scheme.addEventListener("change", paint);
    fit();
    addEventListener("resize", fit);
  }
  start();
})();

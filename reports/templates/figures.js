// Puts a chart that answers to the pointer into the place of each drawn one; ast: without eval.
for (const box of document.querySelectorAll("[data-chart]")) {
  const live = document.createElement("div");
  const spec = JSON.parse(document.getElementById(box.dataset.chart).textContent);
  const actions = {export: true, source: false, compiled: false, editor: false};
  vegaEmbed(live, spec, {renderer: "svg", ast: true, actions}).then(() => {
    // Vega's own labels ("mark container") go: the figure has one that says something.
    for (const odd of live.querySelectorAll(".chart-wrapper, .chart-wrapper [role]")) {
      for (const name of ["role", "aria-label", "aria-roledescription"]) {
        odd.removeAttribute(name);
      }
    }
    live.querySelector("summary").setAttribute("aria-label", "Save the figure");
    box.replaceChildren(live);
    box.setAttribute("role", "group");
  });
}

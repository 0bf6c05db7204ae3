/** Draws long lists of numbers: one thin bar each, in one path. */

const HEIGHT = 100;

/**
 * @param {number[]} values
 * @param {number[]} marked Places that stand out; they are drawn wider, to be seen among thousands.
 * @param {string} label What it says to those who cannot see it.
 * @returns {SVGElement}
 */
export function barChart(values, marked, label) {
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const scale = HEIGHT / (high - low || 1);
  const zero = high * scale;
  /** @param {number} place @param {number} wide */
  const bar = (place, wide) => {
    const left = place + (1 - wide) / 2;
    const rise = -(values[place] ?? 0) * scale;
    return `M${left} ${zero}v${rise.toFixed(2)}h${wide}V${zero}z`;
  };
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById("chart-template"));
  const chart = /** @type {SVGElement} */ (template.content.firstElementChild?.cloneNode(true));
  const width = values.length / 150;
  const paths = [
    values.map((_, place) => bar(place, 1)).join(""),
    marked.map((place) => bar(place, width)).join(""),
    `M0 ${zero}h${values.length}`,
  ];
  chart.setAttribute("viewBox", `0 0 ${values.length} ${HEIGHT}`);
  chart.setAttribute("aria-label", label);
  chart.querySelectorAll("path").forEach((path, place) => path.setAttribute("d", paths[place] ?? ""));
  return chart;
}

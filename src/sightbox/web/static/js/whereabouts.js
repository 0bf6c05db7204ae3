/** Tells in words in which part of a picture the evidence is. */

import { evidenceOf } from "./heat.js";

const ROWS = ["upper", "middle", "lower"];
const COLUMNS = ["left", "centre", "right"];
/** Evidence of at least this part of the strongest counts. */
const STRONG = 0.5;
/** With so much of the map strong, no part of the picture stands out. */
const EVERYWHERE = 0.6;

/** @param {number} share Where along a side, 0 to 1. */
const third = (share) => Math.min(2, Math.max(0, Math.floor(3 * share)));

/**
 * @param {number[][]} values The map of a class, rows from the top.
 * @param {import("./api.js").Region} region What it covers of the picture.
 * @param {{width: number, height: number}} picture
 * @returns {string} The key of the words.
 */
export function whereabouts(values, region, picture) {
  let [sum, across, down, strong, cells] = [0, 0, 0, 0, 0];
  evidenceOf(values).forEach((row, y) => row.forEach((strength, x) => {
    cells += 1;
    if (strength < STRONG) return;
    strong += 1;
    sum += strength;
    across += (strength * (x + 0.5)) / row.length;
    down += (strength * (y + 0.5)) / values.length;
  }));
  if (!sum) return "where.nowhere";
  if (strong / cells >= EVERYWHERE) return "where.everywhere";
  const column = third((region.left + (across / sum) * region.width) / picture.width);
  const row = third((region.top + (down / sum) * region.height) / picture.height);
  return `where.${ROWS[row]}_${COLUMNS[column]}`;
}

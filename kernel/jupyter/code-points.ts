/** Jupyter counts positions in Unicode code points, JavaScript in UTF-16 units. */

/** Code points before a position in UTF-16 units. */
export function toCodePoints(text: string, units: number): number {
  return Array.from(text.slice(0, units)).length;
}

/** UTF-16 units before a position in code points. */
export function toUtf16(text: string, points: number): number {
  return Array.from(text).slice(0, points).join('').length;
}

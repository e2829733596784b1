/** Which steps are in sight, and which after a move. Pure: no page in here. */
import type { Window } from './view-data.ts';

/** `window` moved just far enough to have `step` in it. */
export function holding(window: Window, step: number): Window {
  const shift = step < window.from ? step - window.from : Math.max(0, step - window.to);
  return { from: window.from + shift, to: window.to + shift };
}

/** `window` with `factor` times its width around `step`, within `all`; undefined when that is all of it. */
export function scaled(window: Window, all: Window, step: number, factor: number): Window | undefined {
  const width = (window.to - window.from) * factor;
  if (width >= all.to - all.from) return undefined;
  const from = Math.max(all.from, Math.min(all.to - width, step - width / 2));
  return { from, to: from + width };
}

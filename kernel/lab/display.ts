/** Shows things under the cell. */
import { inspect } from 'node:util';
import { DISPLAY, host } from './host.ts';
import type { DisplayOptions, MimeBundle } from './host.ts';

interface Displayable {
  [DISPLAY](): MimeBundle | Promise<MimeBundle>;
}

/**
 * Shows `value` under the cell: an object that has a method `Symbol.for('Jupyter.display')` as that method says, a
 * MIME bundle (`{ 'text/html': '<b>hi</b>' }`) as it is, anything else as text.
 *
 * @example
 * display({ 'text/markdown': '**bold**', 'text/plain': 'bold' });
 * display.html('<b>bold</b>');
 */
export function display(value: unknown, options?: DisplayOptions): void {
  if (isDisplayable(value)) {
    const bundle = value[DISPLAY]();
    if (!(bundle instanceof Promise)) host().display(bundle, options);
    else
      bundle.then(
        (data) => host().display(data, options),
        (error: unknown) => console.error('display() failed:', error),
      );
  } else {
    host().display(isMimeBundle(value) ? value : { 'text/plain': asText(value) }, options);
  }
}

/** Shows HTML. */
display.html = (html: string, options?: DisplayOptions): void => {
  host().display({ 'text/html': html, 'text/plain': html }, options);
};

/** Shows Markdown. */
display.markdown = (markdown: string, options?: DisplayOptions): void => {
  host().display({ 'text/markdown': markdown, 'text/plain': markdown }, options);
};

/** Shows an SVG image: its source, from `<svg` on. */
display.svg = (svg: string, options?: DisplayOptions): void => {
  host().display({ 'image/svg+xml': svg, 'text/plain': '[SVG image]' }, options);
};

/** Shows a PNG image: its bytes, or their base64 form. */
display.png = (png: Uint8Array | string, options?: DisplayOptions): void => {
  const base64 = typeof png === 'string' ? png : Buffer.from(png).toString('base64');
  host().display({ 'image/png': base64, 'text/plain': '[PNG image]' }, options);
};

/** Shows a JSON value, as a tree where the front end can. */
display.json = (value: unknown, options?: DisplayOptions): void => {
  host().display({ 'application/json': value, 'text/plain': JSON.stringify(value, null, 2) }, options);
};

/** Removes the cell's outputs so far; with `wait`, not before the next one comes, so that nothing flickers. */
display.clear = (options?: { wait?: boolean }): void => {
  host().clear(options);
};

function asText(value: unknown): string {
  return typeof value === 'string' ? value : inspect(value);
}

function isDisplayable(value: unknown): value is Displayable {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, DISPLAY) === 'function';
}

/** A plain object all of whose keys look like MIME types. */
function isMimeBundle(value: unknown): value is MimeBundle {
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return false;
  const keys = Object.keys(value);
  return keys.length > 0 && keys.every((key) => /^[a-z]+\/[\w.+-]+$/i.test(key));
}

/** Values as a table, for those who would rather read than look. */
import { element } from './elements.ts';

/** What a table shows; the first cell of a row is its head. */
export interface TableContent {
  caption: string;
  heads: readonly string[];
  rows: readonly (readonly string[])[];
}

/** A table that scrolls within the page. */
export class ValueTable {
  readonly root = element('div', { class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Values' });
  #shown: string | undefined;

  /** Shows what `content` makes, unless that was made for the same `key` before. */
  show(key: string, content: () => TableContent): void {
    if (this.#shown === key) return;
    this.#shown = key;
    const { caption, heads, rows } = content();
    this.root.replaceChildren(
      element(
        'table',
        {},
        element('caption', {}, caption),
        element('thead', {}, element('tr', {}, ...heads.map((head) => cell('th', 'col', head)))),
        element('tbody', {}, ...rows.map(tableRow)),
      ),
    );
  }
}

function tableRow([head = '', ...values]: readonly string[]): HTMLElement {
  return element('tr', {}, cell('th', 'row', head), ...values.map((value) => cell('td', undefined, value)));
}

function cell(name: 'th' | 'td', scope: 'col' | 'row' | undefined, text: string): HTMLElement {
  return element(name, { scope }, text);
}

/** What a reader has to know beside the curve: why a run failed, what cannot be drawn, why nothing comes. */
import { element } from './elements.ts';
import { plural } from './figures.ts';
import type { RunStore } from './run-store.ts';
import { positiveOnly } from './view-data.ts';

/** A sentence and how much it matters. */
export interface Note {
  kind: 'error' | 'warning' | 'hint';
  text: string;
}

/** The notes on a run, the gravest first. */
export function notesOn(store: RunStore, logarithmic: boolean): Note[] {
  const { train, evaluation } = store.series;
  const notes: Note[] = [];
  if (store.error !== undefined) notes.push({ kind: 'error', text: store.error });
  else if (store.warning !== undefined) notes.push({ kind: 'warning', text: store.warning });
  if (store.unavailable !== undefined && !store.hasEnded)
    notes.push({ kind: 'warning', text: `No live values: ${store.unavailable}` });
  const missing = train.loss.reduce((count: number, loss) => count + (loss === null ? 1 : 0), 0);
  if (missing > 0) notes.push({ kind: 'warning', text: `${plural(missing, 'step')} without a finite loss` });
  const dropped = logarithmic ? positiveOnly(train.loss).dropped + positiveOnly(evaluation.loss).dropped : 0;
  if (dropped > 0)
    notes.push({
      kind: 'hint',
      text: `${plural(dropped, 'value')} ≤ 0 cannot be drawn on a logarithmic axis`,
    });
  return notes;
}

/** The place for notes. */
export class NoteList {
  readonly root = element('div', { class: 'notes' });
  #shown = '';

  /** Replaces the notes where they differ. */
  show(notes: readonly Note[]): void {
    const shown = notes.map(({ kind, text }) => `${kind} ${text}`).join('\n');
    if (this.#shown === shown) return;
    this.#shown = shown;
    this.root.replaceChildren(...notes.map(({ kind, text }) => element('p', { class: kind }, text)));
  }
}

/**
 * What cells print, on its way to the front ends: joined, so that a message is not made for every line, and cut off
 * where a notebook would become too large to open; the whole of it is then in a file.
 */
import { closeSync, mkdtempSync, openSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StreamName } from './runner/messages.ts';

/** Text that comes within this time is one message, ms; Jupyter's own tests want the next output within 100 ms. */
const COALESCE = 16;
/** More text than this does not wait, characters. */
const MAX_PENDING = 1_000_000;

/** Limits, in characters; tests set smaller ones. */
export interface OutputLimits {
  /** What one cell may show. */
  readonly shown: number;
  /** What one cell may write to its file. */
  readonly logged: number;
}
const LIMITS: OutputLimits = { shown: 1_000_000, logged: 1_000_000_000 };

/** Publishes text of a request's cell. */
type Publish = (request: string, name: StreamName, text: string) => void;

/** What one cell has printed so far. */
interface Printed {
  shown: number;
  /** All of it, while the cell runs: the beginning of the file, should there be one. */
  text: string[] | undefined;
  file: LogFile | undefined;
}

interface LogFile {
  readonly path: string;
  readonly descriptor: number;
  written: number;
}

/** The streams of all cells. */
export class CellOutput {
  readonly #publish: Publish;
  readonly #limits: OutputLimits;
  readonly #cells = new Map<string, Printed>();
  #pending: { request: string; name: StreamName; text: string } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #folder: string | undefined;
  #files = 0;

  constructor(publish: Publish, limits: OutputLimits = LIMITS) {
    this.#publish = publish;
    this.#limits = limits;
  }

  /** Takes text; it is published within 16 ms. */
  write(request: string, name: StreamName, text: string): void {
    if (this.#pending?.request !== request || this.#pending.name !== name) {
      this.flush();
      this.#pending = { request, name, text: '' };
      this.#timer = setTimeout(() => this.flush(), COALESCE);
    }
    this.#pending.text += text;
    if (this.#pending.text.length > MAX_PENDING) this.flush();
  }

  /** Publishes what waits, before anything that must not overtake it. */
  flush(): void {
    clearTimeout(this.#timer);
    const pending = this.#pending;
    this.#pending = undefined;
    if (!pending) return;
    const shown = this.#withinLimit(pending.request, pending.text);
    if (shown !== '') this.#publish(pending.request, pending.name, shown);
  }

  /** The cell has ended; what its background work still prints counts as its output all the same. */
  end(request: string): void {
    const printed = this.#cells.get(request);
    if (printed) printed.text = undefined;
  }

  /** The cell is too old for outputs to name it. */
  forget(request: string): void {
    const file = this.#cells.get(request)?.file;
    if (file) closeSync(file.descriptor);
    this.#cells.delete(request);
  }

  /** The part of `text` that is shown, with the notice where the rest goes. */
  #withinLimit(request: string, text: string): string {
    const printed = this.#cells.get(request) ?? { shown: 0, text: [], file: undefined };
    this.#cells.set(request, printed);
    if (printed.file) {
      this.#log(printed.file, text);
      return '';
    }
    const room = this.#limits.shown - printed.shown;
    printed.shown += text.length;
    printed.text?.push(text);
    if (text.length <= room) return text;
    const file = this.#openFile();
    printed.file = file;
    this.#log(file, printed.text?.join('') ?? text.slice(room));
    const what = printed.text ? 'The full output' : 'The rest';
    printed.text = undefined;
    const limit = `${this.#limits.shown / 1e6} MB`;
    return `${text.slice(0, room)}\n… truncated: a cell shows ${limit} of text. ${what} is in ${file.path}\n`;
  }

  #openFile(): LogFile {
    this.#folder ??= mkdtempSync(join(tmpdir(), 'gpt-lab-output-'));
    const path = join(this.#folder, `cell-${++this.#files}.log`);
    return { path, descriptor: openSync(path, 'w', 0o600), written: 0 };
  }

  #log(file: LogFile, text: string): void {
    if (file.written > this.#limits.logged) return;
    file.written += text.length;
    const limit = `${this.#limits.logged / 1e9} GB`;
    const end = file.written > this.#limits.logged ? `\n… this file ends here, at ${limit}\n` : '';
    writeSync(file.descriptor, text + end);
  }
}

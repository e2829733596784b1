/** Jupyter output messages become operations on a cell's outputs. Pure: no editor in here. */
import { PLOT_MIME } from '../../kernel/protocol/plot-mime.ts';

/** The part of a Jupyter message that outputs depend on. */
export interface OutputMessage {
  header: { msg_type: string };
  content: unknown;
}

/** One representation of an output. */
export interface OutputItem {
  mime: string;
  data: Uint8Array;
}

/** An output as a notebook keeps it; `metadata` has the form that VS Code's ipynb serializer reads and writes. */
export interface Output {
  items: OutputItem[];
  metadata: {
    outputType: 'stream' | 'display_data' | 'execute_result' | 'error';
    executionCount?: number;
    metadata?: Record<string, unknown>;
    transient?: { display_id: string };
  };
}

/** One change to a cell's outputs. */
export type OutputOperation =
  | { type: 'append'; output: Output }
  /** Text for the newest output that `name` has; there is one. */
  | { type: 'text'; name: StreamName; text: string }
  /** All displays with this id, in any cell, get new items. */
  | { type: 'update'; displayId: string; output: Output }
  | { type: 'clear' };

export type StreamName = 'stdout' | 'stderr';

/** MIME types of VS Code's own renderer for streams and errors. */
export const STREAM_MIMES: Record<StreamName, string> = {
  stdout: 'application/vnd.code.notebook.stdout',
  stderr: 'application/vnd.code.notebook.stderr',
};
export const ERROR_MIME = 'application/vnd.code.notebook.error';

/** Text beyond this would make the document slow to open and to save; the notebook is no log file. */
export const MAX_STREAM_BYTES = 2_000_000;
/** Switching to and fro between stdout and stderr makes an output each time: thousands of them freeze the editor. */
const MAX_STREAM_OUTPUTS = 100;

const encoder = new TextEncoder();

/** Turns the messages of one execution into operations, in order. */
export class OutputReducer {
  #clearBeforeNext = false;
  #open: StreamName | undefined;
  #streams = new Set<StreamName>();
  #streamOutputs = 0;
  #streamBytes = 0;
  #cut = false;

  /** Operations of one message; none when it is not about outputs. */
  take(message: OutputMessage): OutputOperation[] {
    const content = message.content as Record<string, unknown>;
    switch (message.header.msg_type) {
      case 'stream':
        return this.#stream(content['name'] === 'stderr' ? 'stderr' : 'stdout', text(content['text']));
      case 'display_data':
      case 'execute_result':
        return this.#append(displayOutput(message.header.msg_type, content));
      case 'update_display_data': {
        const displayId = displayIdOf(content);
        if (displayId === undefined) return [];
        return [{ type: 'update', displayId, output: displayOutput('display_data', content) }];
      }
      case 'error':
        return this.#append(errorOutput(content));
      case 'clear_output':
        if (content['wait'] === true) {
          this.#clearBeforeNext = true;
          return [];
        }
        return this.#clear();
      default:
        return [];
    }
  }

  #stream(name: StreamName, added: string): OutputOperation[] {
    if (added === '') return [];
    const before = this.#clearBeforeNext ? this.#clear() : [];
    const shown = this.#withinLimit(added);
    if (shown === '') return before;
    const continues =
      this.#open === name || (this.#streamOutputs >= MAX_STREAM_OUTPUTS && this.#streams.has(name));
    this.#open = name;
    if (continues) return [...before, { type: 'text', name, text: shown }];
    this.#streams.add(name);
    this.#streamOutputs++;
    return [
      ...before,
      {
        type: 'append',
        output: {
          items: [{ mime: STREAM_MIMES[name], data: encoder.encode(shown) }],
          metadata: { outputType: 'stream' },
        },
      },
    ];
  }

  #withinLimit(added: string): string {
    if (this.#cut) return '';
    const room = MAX_STREAM_BYTES - this.#streamBytes;
    this.#streamBytes += added.length;
    if (added.length <= room) return added;
    this.#cut = true;
    return `${added.slice(0, room)}\n… output longer than ${MAX_STREAM_BYTES / 1e6} MB is not shown: write it to a file\n`;
  }

  #append(output: Output): OutputOperation[] {
    const before = this.#clearBeforeNext ? this.#clear() : [];
    this.#open = undefined;
    return [...before, { type: 'append', output }];
  }

  #clear(): OutputOperation[] {
    this.#clearBeforeNext = false;
    this.#open = undefined;
    this.#streams.clear();
    this.#streamOutputs = 0;
    this.#streamBytes = 0;
    this.#cut = false;
    return [{ type: 'clear' }];
  }
}

function displayOutput(
  outputType: 'display_data' | 'execute_result',
  content: Record<string, unknown>,
): Output {
  const displayId = displayIdOf(content);
  const count = content['execution_count'];
  return {
    items: mimeItems(asRecord(content['data'])),
    metadata: {
      outputType,
      metadata: asRecord(content['metadata']),
      ...(outputType === 'execute_result' && typeof count === 'number' ? { executionCount: count } : {}),
      ...(displayId === undefined ? {} : { transient: { display_id: displayId } }),
    },
  };
}

/** An `error` message, or a failure of our own in the same form. */
export function errorOutput(content: Record<string, unknown>): Output {
  const traceback = Array.isArray(content['traceback']) ? content['traceback'].map(text) : [];
  const error = {
    name: text(content['ename']),
    message: text(content['evalue']),
    stack: traceback.join('\n'),
  };
  return {
    items: [{ mime: ERROR_MIME, data: encoder.encode(JSON.stringify(error)) }],
    metadata: { outputType: 'error' },
  };
}

/**
 * The representations of a MIME bundle, richest first: our plots, then vendors' types, HTML, pictures, text.
 * Jupyter writes base64 for binary types, text for textual ones and JSON values for JSON ones.
 */
export function mimeItems(bundle: Record<string, unknown>): OutputItem[] {
  return Object.entries(bundle)
    .map(([mime, value]) => ({ mime, data: encodeItem(mime, value) }))
    .sort((a, b) => richness(a.mime) - richness(b.mime));
}

function richness(mime: string): number {
  if (mime === PLOT_MIME) return 0;
  const order = [/^application\/vnd\./, /html/, /svg/, /^image\//, /markdown/, /latex/, /json/];
  const index = order.findIndex((pattern) => pattern.test(mime));
  return index < 0 ? order.length + 1 : index + 1;
}

function encodeItem(mime: string, value: unknown): Uint8Array {
  if (/^(image|audio|video)\//.test(mime) && !mime.endsWith('+xml') && typeof value === 'string')
    return Uint8Array.from(atob(value.replace(/\s/g, '')), (character) => character.charCodeAt(0));
  if (typeof value === 'string' && !isJson(mime)) return encoder.encode(value);
  if (Array.isArray(value) && !isJson(mime)) return encoder.encode(value.map(text).join(''));
  return encoder.encode(JSON.stringify(value));
}

function isJson(mime: string): boolean {
  return mime === 'application/json' || mime.endsWith('+json');
}

function displayIdOf(content: Record<string, unknown>): string | undefined {
  const id = asRecord(content['transient'])['display_id'];
  return typeof id === 'string' ? id : undefined;
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value);
}

/** Text files read in pieces that may be tokenised apart. */
import type { Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';

/** Characters per piece: large enough to be quick, small enough that the event loop stays free between pieces. */
const PIECE = 1 << 16;

/**
 * Where `text` may be cut so that its parts tokenise as the whole does: before a space between a non-space and a
 * letter, which GPT-2's pre-tokenizer never looks across. The whole length where there is no such place.
 */
export function safeCut(text: string): number {
  for (let i = text.length - 2; i > 0; i--) {
    if (text[i] === ' ' && /\p{L}/u.test(text[i + 1] ?? '') && /\S/.test(text[i - 1] ?? ' ')) return i;
  }
  // Not inside a surrogate pair.
  const last = text.charCodeAt(text.length - 1);
  return last >= 0xd800 && last < 0xdc00 && text.length > 1 ? text.length - 1 : text.length;
}

/**
 * The text of a UTF-8 file in pieces; `hash` gets all of its bytes. Throws an Error naming the file when it cannot be
 * read, is not UTF-8, or is empty.
 */
export async function* readText(path: string, hash?: Hash): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let pending = '';
  let some = false;
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: PIECE })) {
      hash?.update(chunk as Buffer);
      pending += decoder.decode(chunk as Buffer, { stream: true });
      if (pending.length < PIECE) continue;
      const cut = safeCut(pending);
      some = true;
      yield pending.slice(0, cut);
      pending = pending.slice(cut);
    }
    pending += decoder.decode();
  } catch (error) {
    if (error instanceof TypeError) {
      throw new Error(`${path} is not a UTF-8 text: save it as UTF-8 and train again`, { cause: error });
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${path} cannot be read: ${reason}`, { cause: error });
  }
  if (pending.length > 0) yield pending;
  else if (!some) throw new Error(`${path} is empty: there is nothing to train on`);
}

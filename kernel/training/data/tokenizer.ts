/** Text to token ids and back: GPT-2's byte-level BPE, one learned from the text, bytes, or the text's characters. */
import { createHash } from 'node:crypto';
import { BytePairs, type Merge } from './byte-pairs.ts';

/** A tokenizer as JSON: all that a checkpoint needs to turn text into ids again. */
export type TokenizerSpecification =
  | { type: 'gpt2' }
  /** Byte pairs in the order in which they were learned. */
  | { type: 'bpe'; merges: readonly Merge[] }
  | { type: 'byte' }
  /** Characters (code points) in ascending order; the id is the place in the list. */
  | { type: 'char'; characters: string };

export interface Tokenizer {
  readonly specification: TokenizerSpecification;
  readonly vocabularySize: number;
  /** Throws an Error naming the first character that has no id (`char` only). */
  encode(text: string): number[];
  /** UTF-8 bytes of the tokens; one token may be a part of a character. Unknown ids give nothing. */
  decode(ids: readonly number[]): Uint8Array;
}

const utf8 = new TextEncoder();

const byteTokenizer: Tokenizer = {
  specification: { type: 'byte' },
  vocabularySize: 256,
  encode: (text) => Array.from(utf8.encode(text)),
  decode: (ids) => Uint8Array.from(ids),
};

function characterTokenizer(characters: string): Tokenizer {
  const list = Array.from(characters);
  const ids = new Map(list.map((character, id) => [character, id]));
  return {
    specification: { type: 'char', characters },
    vocabularySize: list.length,
    encode: (text) =>
      Array.from(text, (character) => {
        const id = ids.get(character);
        if (id !== undefined) return id;
        throw new Error(
          `The character ${JSON.stringify(character)} is not among the ${list.length} characters of the text that this model was trained on`,
        );
      }),
    decode: (tokens) => utf8.encode(tokens.map((id) => list[id] ?? '').join('')),
  };
}

function bytePairTokenizer(merges: readonly Merge[]): Tokenizer {
  const pairs = new BytePairs(merges);
  return {
    specification: { type: 'bpe', merges },
    vocabularySize: pairs.vocabularySize,
    encode: (text) => pairs.encode(text),
    decode: (ids) => pairs.decode(ids),
  };
}

/** GPT-2's BPE (Radford et al. 2019); its table of 50,257 entries is loaded only when it is wanted. */
async function gpt2Tokenizer(): Promise<Tokenizer> {
  const [{ encode }, { default: ranks }] = await Promise.all([
    import('gpt-tokenizer/encoding/r50k_base'),
    import('gpt-tokenizer/bpeRanks/r50k_base'),
  ]);
  const endOfText = ranks.length;
  // Text is text: "<|endoftext|>" in a corpus is spelled out, not turned into the special token.
  const asText = { allowedSpecial: new Set<string>(), disallowedSpecial: new Set<string>() };
  const bytesOf = (id: number): Uint8Array => {
    const entry = ranks[id] ?? (id === endOfText ? '<|endoftext|>' : '');
    return typeof entry === 'string' ? utf8.encode(entry) : Uint8Array.from(entry);
  };
  return {
    specification: { type: 'gpt2' },
    vocabularySize: endOfText + 1,
    encode: (text) => encode(text, asText),
    decode: (ids) => new Uint8Array(Buffer.concat(ids.map(bytesOf))),
  };
}

/** The tokenizer that a specification describes. */
export async function openTokenizer(specification: TokenizerSpecification): Promise<Tokenizer> {
  switch (specification.type) {
    case 'gpt2':
      return gpt2Tokenizer();
    case 'bpe':
      return bytePairTokenizer(specification.merges);
    case 'byte':
      return byteTokenizer;
    case 'char':
      return characterTokenizer(specification.characters);
  }
}

/** The characters of some text, ascending by code point, merged with those already known. */
export function mergeCharacters(known: string, text: string): string {
  const all = new Set(Array.from(known).concat(Array.from(text)));
  return [...all].sort((a, b) => (a.codePointAt(0) ?? 0) - (b.codePointAt(0) ?? 0)).join('');
}

/** Identifies a tokenizer: hexadecimal SHA-256 of its specification. */
export function tokenizerHash(specification: TokenizerSpecification): string {
  return createHash('sha256').update(JSON.stringify(specification)).digest('hex');
}

/** A run's data: the training tokens and the held-out tokens of its texts. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { basename, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { BYTES, learnMerges, PieceCounter } from './byte-pairs.ts';
import {
  mergeCharacters,
  openTokenizer,
  tokenizerHash,
  type Tokenizer,
  type TokenizerSpecification,
} from './tokenizer.ts';
import { readText } from './text-file.ts';
import { readTokenFile, writeTokenFile, type Tokens } from './token-file.ts';

/** Tokens to train on and to evaluate on, with the tokenizer that made them. */
export interface Corpus {
  readonly tokenizer: Tokenizer;
  readonly training: Tokens;
  readonly validation: Tokens;
  /** Identifies texts and tokenizer; hexadecimal SHA-256. */
  readonly hash: string;
}

/** Texts and how to read them: the section `data` of a configuration. */
export interface DataSource {
  readonly text: readonly string[];
  readonly tokenizer: TokenizerSpecification['type'];
  readonly vocabularySize?: number;
  /** Share of each text that is held out. */
  readonly validation: number;
}

/** How building a corpus tells what it does and what went wrong without ending it, and hears that it is to end. */
export interface CorpusReporter {
  phase(text: string): void;
  warning(code: string, message: string): void;
  stopRequested(): boolean;
}

/** A stop was requested while the data was being read. */
export class StopRequested extends Error {
  override readonly name = 'StopRequested';
}

/** Tokens appended piece by piece. */
class TokenList {
  #tokens: Tokens;
  #length = 0;

  constructor(vocabularySize: number) {
    this.#tokens = vocabularySize <= 65_536 ? new Uint16Array(1 << 16) : new Uint32Array(1 << 16);
  }

  append(ids: ArrayLike<number>): void {
    const needed = this.#length + ids.length;
    if (needed > this.#tokens.length) {
      const Type = this.#tokens.constructor as new (length: number) => Tokens;
      const larger = new Type(Math.max(needed, this.#tokens.length * 2));
      larger.set(this.#tokens.subarray(0, this.#length));
      this.#tokens = larger;
    }
    this.#tokens.set(ids, this.#length);
    this.#length = needed;
  }

  finish(): Tokens {
    return this.#tokens.slice(0, this.#length);
  }
}

/** The named tokenizer; `char` and `bpe` are made from the texts. */
async function chooseTokenizer(data: DataSource, report: CorpusReporter): Promise<Tokenizer> {
  switch (data.tokenizer) {
    case 'gpt2':
    case 'byte':
      return openTokenizer({ type: data.tokenizer });
    case 'char': {
      let characters = '';
      for await (const piece of readAll(data.text, 'reading the characters', report))
        characters = mergeCharacters(characters, piece);
      return openTokenizer({ type: 'char', characters });
    }
    case 'bpe': {
      const counter = new PieceCounter();
      for await (const piece of readAll(data.text, 'counting the words', report)) counter.add(piece);
      report.phase('learning the vocabulary');
      const merges = (data.vocabularySize ?? 0) - BYTES;
      return openTokenizer({
        type: 'bpe',
        merges: await learnMerges(counter.counts, merges, () => takeTurn(report)),
      });
    }
  }
}

/** Lets the event loop have its turn. Throws StopRequested. */
async function takeTurn(report: CorpusReporter): Promise<void> {
  await setImmediate();
  if (report.stopRequested()) throw new StopRequested('A stop was requested');
}

/** The texts in pieces, one after another. */
async function* readAll(
  texts: readonly string[],
  doing: string,
  report: CorpusReporter,
): AsyncGenerator<string> {
  for (const path of texts) {
    report.phase(`${doing} of ${basename(path)}`);
    for await (const piece of readText(path)) {
      yield piece;
      await takeTurn(report);
    }
  }
}

async function contentHash(path: string, report: CorpusReporter): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      hash.update(chunk as Buffer);
      await takeTurn(report);
    }
  } catch (error) {
    if (error instanceof StopRequested) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${path} cannot be read: ${reason}`, { cause: error });
  }
  return hash.digest('hex');
}

/** Names the tokens that a tokenizer makes of a text. */
function tokensKey(contentHash: string, tokenizer: Tokenizer): string {
  return createHash('sha256')
    .update(`${contentHash} ${tokenizerHash(tokenizer.specification)}`)
    .digest('hex');
}

/** The tokens of one text file, from the cache where it holds them, and the key that names them there. */
export async function tokenise(
  path: string,
  tokenizer: Tokenizer,
  cacheDirectory: string,
  report: CorpusReporter,
): Promise<{ tokens: Tokens; key: string }> {
  const file = (key: string): string => join(cacheDirectory, `${key}.tokens`);
  const known = tokensKey(await contentHash(path, report), tokenizer);
  try {
    const tokens = await readTokenFile(file(known));
    if (tokens) return { tokens, key: known };
  } catch (error) {
    report.warning('token-cache-damaged', `${(error as Error).message}: it is built again`);
  }
  report.phase(`tokenising ${basename(path)}`);
  const list = new TokenList(tokenizer.vocabularySize);
  // Hashed anew: the file may have been changed since.
  const read = createHash('sha256');
  for await (const piece of readText(path, read)) {
    list.append(tokenizer.encode(piece));
    await takeTurn(report);
  }
  const tokens = list.finish();
  const key = tokensKey(read.digest('hex'), tokenizer);
  await writeTokenFile(file(key), tokens).catch((error: unknown) => {
    report.warning(
      'token-cache-not-written',
      `${file(key)} could not be written: ${(error as Error).message}`,
    );
  });
  return { tokens, key };
}

/**
 * Tokenises the texts and holds `validation` of each, taken from its end, back. A run that goes on gives the tokenizer
 * that it began with. Throws an Error naming the file when one cannot be read, is empty or not UTF-8; StopRequested.
 */
export async function buildCorpus(
  data: DataSource,
  cacheDirectory: string,
  report: CorpusReporter,
  specification?: TokenizerSpecification,
): Promise<Corpus> {
  const tokenizer = specification ? await openTokenizer(specification) : await chooseTokenizer(data, report);
  const training = new TokenList(tokenizer.vocabularySize);
  const validation = new TokenList(tokenizer.vocabularySize);
  const keys = createHash('sha256');
  for (const path of data.text) {
    const { tokens, key } = await tokenise(path, tokenizer, cacheDirectory, report);
    const cut = tokens.length - Math.floor(tokens.length * data.validation);
    training.append(tokens.subarray(0, cut));
    validation.append(tokens.subarray(cut));
    keys.update(key);
  }
  return {
    tokenizer,
    training: training.finish(),
    validation: validation.finish(),
    hash: keys.digest('hex'),
  };
}

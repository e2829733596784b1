/** A run's data: the training tokens and the held-out tokens of its texts. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { basename, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
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
}

/** How building a corpus tells what it does and what went wrong without ending it. */
export interface CorpusReporter {
  phase(text: string): void;
  warning(code: string, message: string): void;
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

/** Reads all characters of the texts, or takes the named tokenizer. */
async function chooseTokenizer(
  type: TokenizerSpecification['type'],
  texts: readonly string[],
  report: CorpusReporter,
): Promise<Tokenizer> {
  if (type !== 'char') return openTokenizer({ type });
  let characters = '';
  for (const path of texts) {
    report.phase(`reading the characters of ${basename(path)}`);
    for await (const piece of readText(path)) {
      characters = mergeCharacters(characters, piece);
      await setImmediate();
    }
  }
  return openTokenizer({ type: 'char', characters });
}

async function contentHash(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${path} cannot be read: ${reason}`, { cause: error });
  }
  return hash.digest('hex');
}

/** The tokens of one text file, from the cache where it holds them. */
export async function tokenise(
  path: string,
  tokenizer: Tokenizer,
  cacheDirectory: string,
  report: CorpusReporter,
): Promise<Tokens> {
  const key = createHash('sha256')
    .update(`${await contentHash(path)} ${tokenizerHash(tokenizer.specification)}`)
    .digest('hex');
  const cached = join(cacheDirectory, `${key}.tokens`);
  try {
    const tokens = await readTokenFile(cached);
    if (tokens) return tokens;
  } catch (error) {
    report.warning('token-cache-damaged', `${(error as Error).message}: it is built again`);
  }
  report.phase(`tokenising ${basename(path)}`);
  const list = new TokenList(tokenizer.vocabularySize);
  for await (const piece of readText(path)) {
    list.append(tokenizer.encode(piece));
    await setImmediate();
  }
  const tokens = list.finish();
  await writeTokenFile(cached, tokens).catch((error: unknown) => {
    report.warning('token-cache-not-written', `${cached} could not be written: ${(error as Error).message}`);
  });
  return tokens;
}

/**
 * Tokenises the texts and holds `validation` of each, taken from its end, back. Throws an Error naming the file
 * when one cannot be read, is empty or not UTF-8.
 */
export async function buildCorpus(
  data: { text: readonly string[]; tokenizer: TokenizerSpecification['type']; validation: number },
  cacheDirectory: string,
  report: CorpusReporter,
): Promise<Corpus> {
  const tokenizer = await chooseTokenizer(data.tokenizer, data.text, report);
  const training = new TokenList(tokenizer.vocabularySize);
  const validation = new TokenList(tokenizer.vocabularySize);
  for (const path of data.text) {
    const tokens = await tokenise(path, tokenizer, cacheDirectory, report);
    const cut = tokens.length - Math.floor(tokens.length * data.validation);
    training.append(tokens.subarray(0, cut));
    validation.append(tokens.subarray(cut));
  }
  return { tokenizer, training: training.finish(), validation: validation.finish() };
}

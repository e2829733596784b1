import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { buildCorpus, StopRequested, tokenise, type CorpusReporter } from './corpus.ts';
import { openTokenizer, type TokenizerSpecification } from './tokenizer.ts';

let folder = '';
let cache = '';
let text = '';
let told: string[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gpt-lab-corpus-'));
  cache = join(folder, 'cache');
  text = join(folder, 'text.txt');
  told = [];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const report: CorpusReporter = {
  phase: (phase) => told.push(phase),
  warning: (code) => told.push(code),
  stopRequested: () => false,
};

/** Longer than a piece of a file, with all that may stand where it is cut. */
const LONG =
  "It isn't “far”:  the whale\r\n\r\n\tswam   on — 1851 leagues, naïve 鯨の海 🐋🐋 <|endoftext|> and…  so on.\n ".repeat(
    3000,
  );

const kinds: TokenizerSpecification['type'][] = ['gpt2', 'bpe', 'byte', 'char'];

for (const tokenizer of kinds) {
  test(`a text read in pieces has the ${tokenizer} tokens of the whole, from the cache too`, async () => {
    await writeFile(text, LONG);
    const data = { text: [text], tokenizer, vocabularySize: 400, validation: 0 };
    const corpus = await buildCorpus(data, cache, report);
    assert.deepEqual(Array.from(corpus.training), corpus.tokenizer.encode(LONG));
    assert.equal(new TextDecoder().decode(corpus.tokenizer.decode(Array.from(corpus.training))), LONG);
    assert.ok(told.includes('tokenising text.txt'));
    told = [];
    const again = await buildCorpus(data, cache, report);
    assert.deepEqual([again.training, again.hash], [corpus.training, corpus.hash]);
    assert.ok(!told.includes('tokenising text.txt'));
  });
}

test('the cache knows a text by its content and a tokenizer by its ids', async () => {
  const build = async (content: string, tokenizer: TokenizerSpecification['type']): Promise<string> => {
    await writeFile(text, content);
    const data = { text: [text], tokenizer, validation: 0 };
    const { training, hash } = await buildCorpus(data, cache, report);
    const { specification } = (await buildCorpus(data, cache, report)).tokenizer;
    assert.deepEqual(Array.from(training), (await openTokenizer(specification)).encode(content));
    return hash;
  };
  const hashes = [
    await build('the white whale', 'byte'),
    await build('the white whale', 'char'),
    // As long as the first and of the same moment, as far as a file system tells.
    await build('the black whale', 'byte'),
    await build('the black whale', 'char'),
  ];
  assert.equal(new Set(hashes).size, 4);
  assert.equal((await readdir(cache)).length, 4);
  assert.equal(await build('the white whale', 'byte'), hashes[0]);
});

test('a damaged cache is built again, and one that cannot be written costs a warning', async () => {
  await writeFile(text, 'the white whale');
  const tokenizer = await openTokenizer({ type: 'byte' });
  const { tokens } = await tokenise(text, tokenizer, cache, report);
  const [name = ''] = await readdir(cache);
  const bytes = await readFile(join(cache, name));
  for (const damaged of [bytes.subarray(0, 60), bytes.fill(0xff, 57, 58), Buffer.from('GPT')]) {
    await writeFile(join(cache, name), damaged);
    told = [];
    assert.deepEqual((await tokenise(text, tokenizer, cache, report)).tokens, tokens);
    assert.deepEqual(told, ['token-cache-damaged', 'tokenising text.txt']);
  }
  told = [];
  assert.deepEqual((await tokenise(text, tokenizer, text, report)).tokens, tokens);
  assert.equal(told.at(-1), 'token-cache-not-written');
});

test('the end of each text is held out', async () => {
  const other = join(folder, 'other.txt');
  await writeFile(text, 'abcdefghij');
  await writeFile(other, 'ABCDEFGHIJKLMNOPQRST');
  const data = { text: [text, other], tokenizer: 'byte', validation: 0.2 } as const;
  const { training, validation } = await buildCorpus(data, cache, report);
  assert.equal(String.fromCharCode(...training), 'abcdefghABCDEFGHIJKLMNOP');
  assert.equal(String.fromCharCode(...validation), 'ijQRST');
});

test('reading ends when a stop is requested', async () => {
  await writeFile(text, LONG);
  for (const tokenizer of kinds) {
    const data = { text: [text], tokenizer, vocabularySize: 400, validation: 0 };
    await assert.rejects(buildCorpus(data, cache, { ...report, stopRequested: () => true }), StopRequested);
  }
  assert.deepEqual(await readdir(cache).catch(() => []), []);
});
